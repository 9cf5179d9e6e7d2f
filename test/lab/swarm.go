package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

func (l *Lab) formSwarm(ctx context.Context) error {
	managers := l.Managers()
	first := managers[0]
	if _, err := first.Docker(ctx, "swarm", "init", "--advertise-addr", first.Address()); err != nil {
		return err
	}
	workerToken, err := first.Docker(ctx, "swarm", "join-token", "--quiet", "worker")
	if err != nil {
		return err
	}
	managerToken, err := first.Docker(ctx, "swarm", "join-token", "--quiet", "manager")
	if err != nil {
		return err
	}
	joining, ctx := errgroup.WithContext(ctx)
	// A raft group takes in one member at a time.
	joining.Go(func() error {
		for _, n := range managers[1:] {
			if err := n.join(ctx, managerToken, first); err != nil {
				return err
			}
		}
		return nil
	})
	for _, n := range l.Workers() {
		joining.Go(func() error { return n.join(ctx, workerToken, first) })
	}
	return joining.Wait()
}

func (n *Node) join(ctx context.Context, token string, through *Node) error {
	_, err := n.Docker(ctx, "swarm", "join", "--advertise-addr", n.Address(),
		"--token", token, through.Address()+":2377")
	return err
}

// member is what a manager says of a node.
type member struct{ status, manager string }

// members asks the managers in turn until one answers.
func (l *Lab) members(ctx context.Context) (map[string]member, error) {
	var errs []error
	for _, n := range l.Managers() {
		if !n.Running() {
			continue
		}
		seen, err := n.members(ctx)
		if err == nil {
			return seen, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(append(errs, errors.New("no manager answers"))...)
}

func (n *Node) members(ctx context.Context) (map[string]member, error) {
	// A manager whose leader fell silent takes 20 s to say that it knows nothing.
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := n.Docker(ctx, "node", "ls", "--format", "{{.Hostname}}|{{.Status}}|{{.ManagerStatus}}")
	if err != nil {
		return nil, err
	}
	seen := map[string]member{}
	for line := range strings.Lines(out) {
		if f := strings.Split(strings.TrimSpace(line), "|"); len(f) == 3 {
			seen[f[0]] = member{status: f[1], manager: f[2]}
		}
	}
	return seen, nil
}

// Leader is the manager that leads now, as the managers themselves say.
func (l *Lab) Leader(ctx context.Context) (*Node, error) {
	seen, err := l.members(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the leader: %w", err)
	}
	for _, n := range l.Managers() {
		if seen[n.name].manager == "Leader" {
			return n, nil
		}
	}
	return nil, errors.New("find the leader: the swarm has none")
}
