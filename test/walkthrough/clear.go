package walkthrough

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

// clearLimit bounds the wait for one kind of thing, or for one node.
const clearLimit = 60 * time.Second

// Clear removes every node label, service, config, secret, overlay network, container and
// volume of the Swarm and waits until they are gone. All nodes must run.
func (s *Site) Clear(ctx context.Context) error {
	var failed []error
	for _, kind := range []string{"service", "config", "secret"} {
		if err := s.removeAll(ctx, kind); err != nil {
			failed = append(failed, fmt.Errorf("removing every %s: %w", kind, err))
		}
	}
	if err := s.removeNodeLabels(ctx); err != nil {
		failed = append(failed, fmt.Errorf("removing the labels of nodes: %w", err))
	}
	for _, n := range s.Lab.Nodes() {
		if err := clearNode(ctx, n); err != nil {
			failed = append(failed, fmt.Errorf("clearing %s: %w", n.Name(), err))
		}
	}
	if err := s.removeNetworks(ctx); err != nil {
		failed = append(failed, fmt.Errorf("removing every overlay network: %w", err))
	}
	return errors.Join(failed...)
}

// removeNetworks leaves the routing mesh's own. Swarm lets go of a network once
// the last task on it is gone.
func (s *Site) removeNetworks(ctx context.Context) error {
	return lab.Eventually(ctx, clearLimit, func(ctx context.Context) error {
		out, err := s.Docker(ctx, "network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}}")
		names := slices.DeleteFunc(strings.Fields(out), func(name string) bool { return name == "ingress" })
		if err != nil || len(names) == 0 {
			return err
		}
		if _, err = s.Docker(ctx, append([]string{"network", "rm"}, names...)...); err != nil {
			return err
		}
		return errors.New("some were there: look again")
	})
}

// removeNodeLabels puts the nodes back to what they were when they joined.
func (s *Site) removeNodeLabels(ctx context.Context) error {
	for _, n := range s.Lab.Nodes() {
		labels, err := s.Docker(ctx, "node", "inspect", "-f", "{{range $name, $_ := .Spec.Labels}}{{$name}} {{end}}", n.Name())
		if err != nil {
			return err
		}
		for _, name := range strings.Fields(labels) {
			if _, err := s.Docker(ctx, "node", "update", "--label-rm", name, n.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Site) removeAll(ctx context.Context, kind string) error {
	return lab.Eventually(ctx, clearLimit, func(ctx context.Context) error {
		out, err := s.Docker(ctx, kind, "ls", "-q")
		if err != nil || out == "" {
			return err
		}
		if _, err = s.Docker(ctx, append([]string{kind, "rm"}, strings.Fields(out)...)...); err != nil {
			return err
		}
		return errors.New("some were there: look again")
	})
}

// clearNode waits for Swarm to stop the containers. It removes them by itself,
// but may leave those that never ran.
func clearNode(ctx context.Context, n *lab.Node) error {
	return lab.Eventually(ctx, clearLimit, func(ctx context.Context) error {
		over, err := n.Docker(ctx, "ps", "-aq", "--filter", "status=created", "--filter", "status=exited", "--filter", "status=dead")
		if err != nil {
			return err
		}
		for id := range strings.FieldsSeq(over) {
			_, _ = n.Docker(ctx, "rm", id) // Swarm may have been faster
		}
		out, err := n.Docker(ctx, "ps", "-aq")
		if err != nil {
			return err
		}
		if out != "" {
			return fmt.Errorf("containers are left: %s", out)
		}
		volumes, err := n.Docker(ctx, "volume", "ls", "-q")
		if err != nil || volumes == "" {
			return err
		}
		_, err = n.Docker(ctx, append([]string{"volume", "rm"}, strings.Fields(volumes)...)...)
		return err
	})
}
