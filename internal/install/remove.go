package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Removal plans to remove what the stack consists of and what its core has
// made, and nothing else. The core goes first, so that it makes nothing anew.
func Removal(ctx context.Context, swarm Swarm) (*Plan, error) {
	snap, err := swarm.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	services := ours(snap)
	for _, s := range services {
		p.add("remove the service "+s.Spec.Name, func(ctx context.Context) error {
			if err := swarm.RemoveService(ctx, s.ID); err != nil {
				return err
			}
			return until(ctx, func(ctx context.Context) error { return ended(ctx, swarm, s) })
		})
	}
	used := usedElsewhere(snap, services)
	for _, o := range snap.Secrets {
		if (o.Labels[plan.LabelRole] != "" || o.Labels[labelStack] == stackName) && !used[o.ID] {
			p.add("remove the secret "+o.Name, removal(swarm.RemoveSecret, o.ID))
		}
	}
	for _, o := range snap.Configs {
		if o.Name != authorityName && !used[o.ID] {
			p.add("remove the config "+o.Name, removal(swarm.RemoveConfig, o.ID))
		}
	}
	for _, n := range snap.Networks {
		if n.Labels[labelStack] == stackName {
			p.add("remove the network "+n.Name, removal(swarm.RemoveNetwork, n.ID))
		}
	}
	return p, nil
}

// ours are the core of the stack and the services that it keeps, in this order,
// and its standalone.
func ours(snap *snapshot.Snapshot) []*snapshot.Service {
	var list []*snapshot.Service
	if core := stackService(snap, coreService); core != nil {
		list = append(list, core)
		for _, s := range snap.Services {
			if s.Spec.Labels[plan.LabelOwner] == core.ID && s.Spec.Labels[plan.LabelRole] != "" {
				list = append(list, s)
			}
		}
	}
	if standalone := stackService(snap, standaloneService); standalone != nil {
		list = append(list, standalone)
	}
	return list
}

// stackService returns nil for a service of that name which is not the stack's.
func stackService(snap *snapshot.Snapshot, name string) *snapshot.Service {
	if s := findService(snap, name); s != nil && s.Spec.Labels[labelStack] == stackName {
		return s
	}
	return nil
}

// usedElsewhere are the secrets and configs, by ID, of services that stay.
func usedElsewhere(snap *snapshot.Snapshot, going []*snapshot.Service) map[string]bool {
	gone, used := map[string]bool{}, map[string]bool{}
	for _, s := range going {
		gone[s.ID] = true
	}
	for _, s := range snap.Services {
		if gone[s.ID] {
			continue
		}
		for _, ref := range append(append([]snapshot.FileRef(nil), s.Spec.Secrets...), s.Spec.Configs...) {
			used[ref.ID] = true
		}
	}
	return used
}

// removal tries for a while: Swarm lets go of a thing once the last task that
// used it is gone.
func removal(remove func(context.Context, string) error, id string) func(context.Context) error {
	return func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error { return remove(ctx, id) })
	}
}

// ended fails as long as tasks of a service that was removed are left.
func ended(ctx context.Context, swarm Swarm, s *snapshot.Service) error {
	snap, err := swarm.Snapshot(ctx)
	if err != nil {
		return err
	}
	var left []string
	for _, t := range snap.TasksOf(s.ID) {
		if n := snap.Node(t.NodeID); t.State <= snapshot.TaskRunning && n != nil && n.Ready {
			left = append(left, n.Hostname)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("tasks of %s are left on %s", s.Spec.Name, strings.Join(left, ", "))
	}
	return nil
}

// removeLimit bounds the wait for one thing to go.
const removeLimit = time.Minute

func until(ctx context.Context, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, removeLimit, fmt.Errorf("not gone within %s", removeLimit))
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(lookEvery):
		}
	}
}
