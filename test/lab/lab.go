package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// upTimeout bounds [Up]: eight nodes take about 5 s on two idle cores.
const upTimeout = 2 * time.Minute

// Options say what kind of lab [Up] brings up. The zero value is the eight-node
// lab: three managers, three plain workers and two load balancers.
type Options struct {
	// Managers become manager-00, manager-01 and so on; at most 9. With zero
	// managers and zero workers the lab is the eight-node one.
	Managers int
	// Workers counts all nodes that are not managers, the load balancers
	// included; at most 90.
	Workers int
	// LoadBalancers is how many of the workers are named lb-00, lb-01 and so on
	// instead of worker-00. The name is all that distinguishes them.
	LoadBalancers int

	// Name, if any, is one by which [Open] finds the lab. No two labs that are
	// up may share it.
	Name string
	// Detached makes the lab outlive the process that brought it up. It stays
	// until somebody opens it and takes it down.
	Detached bool
}

// Lab is one Swarm of real engines. Its methods may be called concurrently.
type Lab struct {
	state  state
	dir    string
	fabric *fabric
	nodes  []*Node

	mu sync.Mutex
	// owner is the lock by which the lab belongs to this process.
	owner *os.File
}

// Up brings up a lab: when it returns without an error, every node is Ready and
// every manager reachable. It also removes what dead labs left behind. It gives
// up after two minutes, and leaves nothing behind when it fails.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := Unavailable(); err != nil {
		return nil, err
	}
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	l, err := claim(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("prepare the lab: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	if err := l.bringUp(ctx, o.Detached); err != nil {
		return nil, errors.Join(fmt.Errorf("bring up lab %s: %w", l.state.ID, err), l.Down())
	}
	return l, nil
}

func (o Options) complete() (Options, error) {
	if o.Managers == 0 && o.Workers == 0 && o.LoadBalancers == 0 {
		o.Managers, o.Workers, o.LoadBalancers = 3, 5, 2
	}
	switch {
	case o.Managers < 1 || o.Managers > 9:
		return o, fmt.Errorf("a lab has 1 to 9 managers, not %d", o.Managers)
	case o.Workers < 0 || o.Workers > 90:
		return o, fmt.Errorf("a lab has 0 to 90 workers, not %d", o.Workers)
	case o.LoadBalancers < 0 || o.LoadBalancers > o.Workers:
		return o, fmt.Errorf("of %d workers %d cannot be load balancers", o.Workers, o.LoadBalancers)
	}
	return o, nil
}

func (l *Lab) bringUp(ctx context.Context, detached bool) error {
	if err := l.fabric.start(ctx, l.nodes); err != nil {
		return fmt.Errorf("start the switch: %w", err)
	}
	engines, engineCtx := errgroup.WithContext(ctx)
	for _, n := range l.nodes {
		engines.Go(func() error { return n.Start(engineCtx) })
	}
	if err := engines.Wait(); err != nil {
		return err
	}
	if err := l.formSwarm(ctx); err != nil {
		return fmt.Errorf("form the swarm: %w", err)
	}
	if err := l.WaitConverged(ctx, time.Minute); err != nil {
		return err
	}
	if detached {
		return l.detach()
	}
	return nil
}

// Down ends everything that the lab consists of and removes every trace of it.
// Taking down a lab that is down already does nothing.
func (l *Lab) Down() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := erase(context.Background(), l.dir)
	if l.owner != nil {
		err = errors.Join(err, l.owner.Close())
		l.owner = nil
	}
	if err != nil {
		return fmt.Errorf("take down lab %s: %w", l.state.ID, err)
	}
	return nil
}

// ID is the lab's own name on this machine: six hexadecimal digits.
func (l *Lab) ID() string { return l.state.ID }

// Name is the name that [Options] gave, or nothing.
func (l *Lab) Name() string { return l.state.Name }

// Subnet is the /24 of the lab's addresses.
func (l *Lab) Subnet() netip.Prefix { return l.state.Subnet }

// HostAddress is where the nodes reach this machine itself.
func (l *Lab) HostAddress() string { return l.state.address(hostOctet) }

// Nodes are all nodes, sorted by name.
func (l *Lab) Nodes() []*Node { return slices.Clone(l.nodes) }

// Managers are the nodes that are managers, sorted by name.
func (l *Lab) Managers() []*Node { return l.withRole(Manager) }

// Workers are the nodes that are not managers, sorted by name; load balancers
// are among them.
func (l *Lab) Workers() []*Node { return l.withRole(Worker) }

func (l *Lab) withRole(r Role) []*Node {
	return slices.DeleteFunc(l.Nodes(), func(n *Node) bool { return n.role != r })
}

// Node is the node of that name. It panics if the lab has none: the caller
// asked for another lab than it uses.
func (l *Lab) Node(name string) *Node {
	for _, n := range l.nodes {
		if n.name == name {
			return n
		}
	}
	panic(fmt.Sprintf("lab %s has no node %q", l.state.ID, name))
}

// WriteLogs writes the last lines of each engine's log, and of the switch's.
func (l *Lab) WriteLogs(w io.Writer) error {
	machines := []*machine{&l.fabric.machine}
	for _, n := range l.nodes {
		machines = append(machines, &n.machine)
	}
	for _, m := range machines {
		if _, err := fmt.Fprintf(w, "--- %s\n%s\n", filepath.Base(m.dir), m.lastWords(30)); err != nil {
			return fmt.Errorf("write the lab's logs: %w", err)
		}
	}
	return nil
}
