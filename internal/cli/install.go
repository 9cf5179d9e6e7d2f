package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/install"
)

// errNotWanted ends a command whose question was answered with no.
var errNotWanted = errors.New("nothing was changed")

// installOptions are the flags of install and uninstall.
type installOptions struct {
	install.Options
	yes, dryRun bool
	timeout     time.Duration
}

func (p *process) installCommand() *cobra.Command {
	var o installOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install Interlock on a Swarm, and wait until traffic flows",
		Long: `Install writes the stack for the Swarm whose manager's engine DOCKER_HOST names
(by default the one on this machine), shows what it is going to do, asks, does it,
and waits until every proxy answers. A second run changes nothing.`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Variant, "variant", "hybrid", "`WAY` of networking, or standalone for one process on a manager: "+strings.Join(install.Variants(), ", "))
	flags.StringVar(&o.Proxy, "proxy", "", "`KIND` of proxy: nginx, or native (default: nginx, and native of a standalone)")
	flags.StringVar(&o.ImagePrefix, "image-prefix", "", "goes before every image's name, such as `registry.example.com/`")
	flags.StringVar(&o.Version, "version", version, "the images' `TAG`")
	flags.StringVar(&o.LoadBalancers, "lb-label", "nodetype=loadbalancer", "node label, as `NAME=VALUE`, of the nodes that run proxies; empty, as for a standalone: any")
	flags.IntVar(&o.Proxies, "proxies", 2, "how many proxies; of a standalone one")
	flags.IntVar(&o.Port, "port", 80, "where clients reach the proxies")
	flags.IntVar(&o.SSLPort, "ssl-port", 443, "where clients reach the proxies with TLS")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the stack file and config.toml, and do nothing")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for traffic")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Variant == install.Standalone {
			o.suitStandalone(cmd.Flags())
		}
		stack, err := install.NewStack(o.Options)
		if err != nil {
			return err
		}
		return running(func(ctx context.Context, _ []string) error { return p.install(ctx, stack, o) })(cmd, args)
	}
	return cmd
}

// suitStandalone changes the defaults to those of one process on any manager.
func (o *installOptions) suitStandalone(given *pflag.FlagSet) {
	if !given.Changed("lb-label") {
		o.LoadBalancers = ""
	}
	if !given.Changed("proxies") {
		o.Proxies = 1
	}
}

func (p *process) install(ctx context.Context, stack *install.Stack, o installOptions) error {
	if o.dryRun {
		return p.show(stack)
	}
	swarm, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer swarm.Close()
	plan, err := stack.Plan(ctx, swarm)
	if err != nil {
		return err
	}
	if err := p.carryOut(ctx, plan, o.yes, "Interlock is installed so already: nothing to change"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("gave up after %s", o.timeout))
	defer cancel()
	if err := stack.Wait(ctx, swarm, p.say); err != nil {
		return err
	}
	p.say("traffic flows")
	return nil
}

// show prints the stack file, and behind a line of dashes the file that it names.
func (p *process) show(stack *install.Stack) error {
	text := stack.File
	if stack.Config != "" {
		text += fmt.Sprintf("---\n# %s.toml\n%s", stack.Name, stack.Config)
	}
	_, err := io.WriteString(p.stdout, text)
	return err
}

func (p *process) uninstallCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove what install has made, and what its core has made",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.uninstall(ctx, yes) })
	return cmd
}

func (p *process) uninstall(ctx context.Context, yes bool) error {
	swarm, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer swarm.Close()
	plan, err := install.Removal(ctx, swarm)
	if err != nil {
		return err
	}
	if err := p.carryOut(ctx, plan, yes, "Interlock is not installed: nothing to remove"); err != nil {
		return err
	}
	if len(plan.Steps) > 0 {
		p.say("removed. The proxies' volumes stay on their nodes: docker volume rm interlock-proxy-default, or interlock-standalone")
	}
	return nil
}

// carryOut shows a plan, asks, and does it.
func (p *process) carryOut(ctx context.Context, plan *install.Plan, yes bool, nothing string) error {
	if len(plan.Steps) == 0 {
		p.say(nothing)
		return nil
	}
	p.say("This is going to be done:")
	for _, step := range plan.Steps {
		p.say("  " + step)
	}
	if !yes && !p.confirmed() {
		return errNotWanted
	}
	return plan.Apply(ctx, func(step string) { p.say("done: " + step) })
}

func (p *process) confirmed() bool {
	fmt.Fprint(p.stdout, "Continue? [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(p.stdin, 1<<10)).ReadString('\n')
	if err != nil && answer == "" {
		return false
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

func (p *process) say(line string) { fmt.Fprintln(p.stdout, line) }

// dial reaches the engine that docker commands would.
func (p *process) dial(ctx context.Context) (*docker.Client, error) {
	url := p.env["DOCKER_HOST"]
	if url == "" {
		url = "unix:///var/run/docker.sock"
	}
	swarm, err := docker.Dial(ctx, docker.Options{URL: url, Logger: p.logger()})
	if err != nil {
		return nil, err
	}
	if err := swarm.Check(ctx); err != nil {
		swarm.Close()
		return nil, err
	}
	return swarm, nil
}
