package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Snapshot reads the Swarm once, within ten seconds. A reading is complete or
// an error; it shares with the reading before what did not change.
//
// A service, task, node or network that cannot be understood stays as it was in
// the reading before, so that no route is lost by it; any other object, and one
// that was never read, is left out. Of addresses that cannot be parsed only the
// address is left out. Each is logged once, for as long as it stays so.
func (c *Client) Snapshot(ctx context.Context) (*snapshot.Snapshot, error) {
	r := reading{client: c, last: c.last.Load()}
	if r.last == nil {
		r.last = new(snapshot.Snapshot)
	}
	if err := r.complete(ctx); err != nil {
		return nil, c.explain(ctx, err)
	}
	c.faults.report(c.log, "", r.faults)
	r.result.Tasks = snapshot.WithoutHistory(r.result.Tasks)
	s := r.result.Snapshot(r.last)
	c.last.Store(s)
	return s, nil
}

// errTasksAlone asks for a reading of everything.
var errTasksAlone = errors.New("the tasks do not go with what was read before")

// snapshotOfTasks is [Client.Snapshot] that reads the tasks only, at a fifth of the cost:
// they are what the API announces no change of. It fails with errTasksAlone where they
// do not go with the rest of the reading before.
func (c *Client) snapshotOfTasks(ctx context.Context) (*snapshot.Snapshot, error) {
	last := c.last.Load()
	if last == nil {
		return nil, errTasksAlone
	}
	r := reading{client: c, last: last}
	if err := r.only(ctx, r.tasks); err != nil {
		return nil, c.explain(ctx, err)
	}
	s := last.WithTasks(snapshot.WithoutHistory(r.result.Tasks))
	// Somebody else may have read everything meanwhile.
	if !goesWith(s, last) || !c.last.CompareAndSwap(last, s) {
		return nil, errTasksAlone
	}
	c.faults.report(c.log, "task", r.faults)
	return s, nil
}

// goesWith says whether tasks that were read anew are of services and on nodes that
// were read before. An engine that lists none while there were some may have lost
// sight of everything.
func goesWith(s, last *snapshot.Snapshot) bool {
	if len(s.Tasks) == 0 {
		return len(last.Tasks) == 0
	}
	for before, after := range snapshot.TaskDifferences(last, s) {
		if after == nil {
			continue
		}
		for _, t := range after.List {
			known := last.Service(t.ServiceID) != nil && (t.NodeID == "" || last.Node(t.NodeID) != nil)
			asBefore := before != nil && slices.Contains(before.List, t)
			if !known && !asBefore {
				return false
			}
		}
	}
	return true
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
	last   *snapshot.Snapshot // what was read before, or an empty one
	result snapshot.Lists

	mu     sync.Mutex
	faults []fault
}

func (r *reading) complete(ctx context.Context) error {
	return r.only(ctx, r.services, r.tasks, r.nodes, r.networks, r.secrets, r.configs)
}

// only reads some of the lists, at the same time.
func (r *reading) only(ctx context.Context, lists ...func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if _, err := r.client.negotiate(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, list := range lists {
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
	add := func(w *wireService) { r.result.Services = append(r.result.Services, w.service(r)) }
	return read(ctx, r, "service", nil, add, func(id string) bool {
		return addLast(&r.result.Services, r.last.Service(id))
	})
}

func (r *reading) tasks(ctx context.Context) error {
	add := func(w *wireTask) { r.result.Tasks = append(r.result.Tasks, w.task(r)) }
	// The API filters tasks by desired state only. A task that is to stop but
	// still runs has to be seen, so this reads the history too.
	return read(ctx, r, "task", nil, add, func(id string) bool {
		for t := range r.last.AllTasks() {
			if t.ID == id {
				return addLast(&r.result.Tasks, t)
			}
		}
		return false
	})
}

func (r *reading) nodes(ctx context.Context) error {
	add := func(w *wireNode) { r.result.Nodes = append(r.result.Nodes, w.node()) }
	return read(ctx, r, "node", nil, add, func(id string) bool {
		return addLast(&r.result.Nodes, r.last.Node(id))
	})
}

func (r *reading) networks(ctx context.Context) error {
	add := func(w *wireNetwork) { r.result.Networks = append(r.result.Networks, w.network()) }
	swarmScoped := client.Filters{}.Add("scope", "swarm")
	return read(ctx, r, "network", swarmScoped, add, func(id string) bool {
		return addLast(&r.result.Networks, r.last.Network(id))
	})
}

func (r *reading) secrets(ctx context.Context) error {
	add := func(w *wireObject) { r.result.Secrets = append(r.result.Secrets, w.object()) }
	return read(ctx, r, "secret", nil, add, leaveOut)
}

func (r *reading) configs(ctx context.Context) error {
	add := func(w *wireObject) { r.result.Configs = append(r.result.Configs, w.object()) }
	// The list carries the content of every config in it, up to a megabyte
	// each. A role is what all of ours have; of the others only some matter.
	ours := client.Filters{}.Add("label", plan.LabelRole)
	if err := read(ctx, r, "config", ours, add, leaveOut); err != nil || len(r.client.configs) == 0 {
		return err
	}
	named := client.Filters{}.Add("name", r.client.configs...)
	return read(ctx, r, "config", named, func(w *wireObject) {
		// Swarm's filter goes by the beginning of a name.
		if _, isOurs := w.Spec.Labels[plan.LabelRole]; !isOurs && slices.Contains(r.client.configs, w.Spec.Name) {
			add(w)
		}
	}, leaveOut)
}

// addLast adds what was read before, if there is any.
func addLast[O any](list *[]O, last *O) bool {
	if last == nil {
		return false
	}
	*list = append(*list, *last)
	return true
}

func leaveOut(string) bool { return false }

// read gives every object of a kind to add, and the ID of one that cannot be
// understood to keepLast, which tells whether there was one to keep.
func read[W any](
	ctx context.Context, r *reading, kind string, filters client.Filters, add func(*W), keepLast func(id string) bool,
) error {
	faults, err := list(ctx, r.client, kind, "/"+kind+"s", filters, add)
	if err != nil {
		return fmt.Errorf("reading the Swarm's %ss: %w", kind, err)
	}
	for i := range faults {
		faults[i].kept = keepLast(faults[i].id)
	}
	r.fault(faults...)
	return nil
}
