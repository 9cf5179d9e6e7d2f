package docker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Snapshot reads the Swarm once, within ten seconds. A reading is complete or
// an error; two readings of a Swarm that did not change are deeply equal.
//
// An object that cannot be understood is left out, and of addresses that
// cannot be parsed only the address is; each is logged once, for as long as it
// stays so.
func (c *Client) Snapshot(ctx context.Context) (*snapshot.Snapshot, error) {
	r := reading{client: c}
	if err := r.complete(ctx); err != nil {
		return nil, c.explain(ctx, err)
	}
	c.faults.report(c.log, r.faults)
	r.result.Tasks = withoutHistory(r.result.Tasks)
	r.result.Sort()
	return &r.result, nil
}

// explain prefers what Check has to say: which of the lists failed first, and
// how, is chance, but why no list can be read is not.
func (c *Client) explain(ctx context.Context, err error) error {
	var unready *Unready
	switch {
	case ctx.Err() != nil || errors.As(err, &unready):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the Docker API at %s did not answer within %s: %w", c.url, readLimit, err)
	case errors.As(c.Check(ctx), &unready):
		return unready
	default:
		return err
	}
}

// reading is one Snapshot on its way. Its methods fill one list each and may
// run at the same time.
type reading struct {
	client *Client
	result snapshot.Snapshot

	mu     sync.Mutex
	faults []fault
}

func (r *reading) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if _, err := r.client.negotiate(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, list := range []func(context.Context) error{
		r.services, r.tasks, r.nodes, r.networks, r.secrets, r.configs,
	} {
		group.Go(func() error { return list(ctx) })
	}
	return group.Wait()
}

func (r *reading) fault(faults ...fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, faults...)
}

func (r *reading) services(ctx context.Context) error {
	return read(ctx, r, "service", nil, func(w *wireService) {
		r.result.Services = append(r.result.Services, w.service(r))
	})
}

func (r *reading) tasks(ctx context.Context) error {
	// The API filters tasks by desired state only. A task that is to stop but
	// still runs has to be seen, so this reads the history too.
	return read(ctx, r, "task", nil, func(w *wireTask) {
		r.result.Tasks = append(r.result.Tasks, w.task(r))
	})
}

func (r *reading) nodes(ctx context.Context) error {
	return read(ctx, r, "node", nil, func(w *wireNode) {
		r.result.Nodes = append(r.result.Nodes, w.node())
	})
}

func (r *reading) networks(ctx context.Context) error {
	swarmScoped := client.Filters{}.Add("scope", "swarm")
	return read(ctx, r, "network", swarmScoped, func(w *wireNetwork) {
		r.result.Networks = append(r.result.Networks, w.network())
	})
}

func (r *reading) secrets(ctx context.Context) error {
	return read(ctx, r, "secret", nil, func(w *wireObject) {
		r.result.Secrets = append(r.result.Secrets, w.object())
	})
}

func (r *reading) configs(ctx context.Context) error {
	return read(ctx, r, "config", nil, func(w *wireObject) {
		r.result.Configs = append(r.result.Configs, w.object())
	})
}

func read[W any](ctx context.Context, r *reading, kind string, filters client.Filters, add func(*W)) error {
	faults, err := list(ctx, r.client, kind, "/"+kind+"s", filters, add)
	if err != nil {
		return fmt.Errorf("reading the Swarm's %ss: %w", kind, err)
	}
	r.fault(faults...)
	return nil
}
