package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/test/lab"
)

// defaultName is the lab that the commands mean unless --name says otherwise.
const defaultName = "dev"

func run(ctx context.Context, args []string) error {
	var name string
	command := &cobra.Command{
		Use:           "lab",
		Short:         "A Swarm of real Docker engines on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	command.PersistentFlags().StringVar(&name, "name", defaultName, "the lab's name")
	command.AddCommand(
		upCommand(&name), downCommand(&name), envCommand(&name), statusCommand(&name),
		dockerCommand(&name), pushCommand(&name), logsCommand(&name),
	)
	command.AddCommand(faultCommands(&name)...)
	command.SetArgs(args)
	command.SetOut(os.Stdout)
	command.SetErr(os.Stderr)
	return command.ExecuteContext(ctx)
}

func upCommand(name *string) *cobra.Command {
	var o lab.Options
	command := &cobra.Command{
		Use:   "up",
		Short: "Bring the lab up, if it is not, and print how to reach it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if errors.Is(err, lab.ErrNotUp) {
				o.Name, o.Detached = *name, true
				l, err = lab.Up(c.Context(), o)
			}
			if err != nil {
				return err
			}
			return writeEnv(c.OutOrStdout(), l, l.Managers()[0])
		},
	}
	command.Flags().IntVar(&o.Managers, "managers", 3, "how many managers")
	command.Flags().IntVar(&o.Workers, "workers", 5, "how many other nodes")
	command.Flags().IntVar(&o.LoadBalancers, "load-balancers", 2, "how many of the workers are named lb-NN")
	return command
}

func downCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take the lab down, if it is up, and remove what dead labs left",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if err == nil {
				err = l.Down()
			}
			if err != nil && !errors.Is(err, lab.ErrNotUp) {
				return err
			}
			return lab.Sweep(c.Context())
		},
	}
}

func envCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "env [NODE]",
		Short: "Print the shell variables that point docker at a node, by default the first manager",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			n := l.Managers()[0]
			if len(args) == 1 {
				if n, err = findNode(l, args[0]); err != nil {
					return err
				}
			}
			return writeEnv(c.OutOrStdout(), l, n)
		},
	}
}

func writeEnv(w io.Writer, l *lab.Lab, n *lab.Node) error {
	lines := n.DockerEnv()
	lines = append(lines, "LAB_REGISTRY="+l.Registry())
	for _, n := range l.Nodes() {
		variable := strings.ToUpper(strings.ReplaceAll(n.Name(), "-", "_"))
		lines = append(lines, "LAB_"+variable+"="+n.Address())
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, "export "+line); err != nil {
			return err
		}
	}
	return nil
}

func statusCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the lab's nodes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "NODE\tROLE\tADDRESS\tPID\tSOCKET")
			for _, n := range l.Nodes() {
				pid := "off"
				if n.PID() != 0 {
					pid = fmt.Sprint(n.PID())
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", n.Name(), n.Role(), n.Address(), pid, n.Socket())
			}
			return table.Flush()
		},
	}
}

func dockerCommand(name *string) *cobra.Command {
	command := &cobra.Command{
		Use:   "docker NODE ARGUMENT...",
		Short: "Run docker against a node's engine",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := openNode(*name, args[0])
			if err != nil {
				return err
			}
			out, err := n.Docker(c.Context(), args[1:]...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), out)
			return err
		},
	}
	// What comes after the node is docker's.
	command.Flags().SetInterspersed(false)
	return command
}

func pushCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "push IMAGE...",
		Short: "Push images that the first manager's engine has to the lab's registry",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			return l.PushImages(c.Context(), args...)
		},
	}
}

func logsCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "logs",
		Short: "Print the last lines of every engine's log",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			return l.WriteLogs(c.OutOrStdout())
		},
	}
}

// waitTimeout is how long the command "wait" gives Swarm, which itself takes
// about 15 s to call a lost node Down.
const waitTimeout = time.Minute

func faultCommands(name *string) []*cobra.Command {
	onNode := func(use, short string, do func(*lab.Node, context.Context) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " NODE", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				n, err := openNode(*name, args[0])
				if err != nil {
					return err
				}
				return do(n, c.Context())
			},
		}
	}
	return []*cobra.Command{
		onNode("kill", "Cut a node's power", (*lab.Node).Kill),
		onNode("start", "Switch a node on again", (*lab.Node).Start),
		onNode("pause", "Freeze a node's engine", (*lab.Node).Pause),
		onNode("resume", "Let a node's engine go on", (*lab.Node).Resume),
		onNode("link-down", "Pull a node's cable", (*lab.Node).LinkDown),
		onNode("link-up", "Plug a node's cable in again", (*lab.Node).LinkUp),
		onNode("heal", "Undo a node's partitions", (*lab.Node).Heal),
		partitionCommand(name),
		{
			Use: "wait", Short: "Wait until the Swarm sees the nodes as they are", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				l, err := lab.Open(*name)
				if err != nil {
					return err
				}
				return l.WaitConverged(c.Context(), waitTimeout)
			},
		},
	}
}

func partitionCommand(name *string) *cobra.Command {
	var port int
	command := &cobra.Command{
		Use:   "partition NODE [OTHER...]",
		Short: "Cut a node off from the others, or from those",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			var nodes []*lab.Node
			for _, a := range args {
				n, err := findNode(l, a)
				if err != nil {
					return err
				}
				nodes = append(nodes, n)
			}
			if c.Flags().Changed("port") {
				return nodes[0].PartitionPort(c.Context(), port, nodes[1:]...)
			}
			return nodes[0].Partition(c.Context(), nodes[1:]...)
		},
	}
	command.Flags().IntVar(&port, "port", 0, "only what comes from or goes to this port")
	return command
}

func openNode(labName, node string) (*lab.Node, error) {
	l, err := lab.Open(labName)
	if err != nil {
		return nil, err
	}
	return findNode(l, node)
}

func findNode(l *lab.Lab, name string) (*lab.Node, error) {
	var names []string
	for _, n := range l.Nodes() {
		if n.Name() == name {
			return n, nil
		}
		names = append(names, n.Name())
	}
	return nil, fmt.Errorf("the lab has no node %q; it has %s", name, strings.Join(names, ", "))
}
