// Package core is Interlock's control loop: it takes readings of Swarm, turns
// them into tables, keeps the extension and proxy services as configured, and
// hands the bundles that extensions render to whoever delivers them.
//
// The loop (Core.Run) decides when; the reconciler decides what, is
// synchronous and knows nothing of time. Neither speaks to Docker or to the
// network: that is behind Source, Applier and Deliverer.
package core

import (
	"context"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Source reads Swarm.
type Source interface {
	// Run publishes every complete reading that differs from the one before,
	// until ctx ends. It never publishes a part of one.
	Run(ctx context.Context, publish func(*snapshot.Snapshot)) error
	// Snapshot makes one complete reading.
	Snapshot(ctx context.Context) (*snapshot.Snapshot, error)
	// Health says why what was published last may be out of date; nil if it is
	// not. It returns at once.
	Health() error
}

// Applier changes Swarm. Every method fails with plan.ErrOutdated when somebody
// else was first.
type Applier interface {
	CreateService(ctx context.Context, spec snapshot.ServiceSpec) (id string, err error)
	// UpdateService applies to the service at version only.
	UpdateService(ctx context.Context, id string, version uint64, spec snapshot.ServiceSpec) error
	CreateSecret(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error)
	CreateConfig(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error)
	ReadConfig(ctx context.Context, nameOrID string) ([]byte, error)
	// RemoveConfig succeeds if the config has gone already.
	RemoveConfig(ctx context.Context, id string) error
	// RemoveService and RemoveSecret succeed if it has gone already.
	RemoveService(ctx context.Context, id string) error
	RemoveSecret(ctx context.Context, id string) error
}

// Deliverer brings bundles to proxies.
type Deliverer interface {
	// Deliver replaces what is wanted of a cluster and returns at once. The
	// bundle is nil as long as there is none.
	Deliver(cluster string, proxies []delivery.Proxy, bundle *delivery.Bundle)
	// Try asks one proxy of a cluster, by its task, whether it would serve a
	// bundle, and returns at once; nil: nothing any more.
	Try(cluster, task string, bundle *delivery.Bundle)
	// Probe asks a cluster's proxies which addresses accept connections, in the
	// place of those from before, and returns at once what is known already.
	Probe(cluster string, addresses []netip.AddrPort) admission.Answer
	// Statuses are sorted; the channel is closed when they, or what Probe returns,
	// are out of date.
	Statuses() ([]delivery.Status, <-chan struct{})
}

// Issuer makes the identities that extensions and proxies are known by.
type Issuer interface {
	Issue(name pki.Name, now time.Time, lifetime time.Duration) (identity []byte, err error)
	// Fingerprint tells one authority from another.
	Fingerprint() string
	// Seal marks words in a way that nobody else can.
	Seal(words ...string) string
}

// Options are what a core needs.
type Options struct {
	Settings  *settings.Settings
	Source    Source
	Applier   Applier
	Deliverer Deliverer
	Issuer    Issuer
	// Container is the ID of the container that the core runs in; empty outside.
	Container string
	// RemovalGrace is how long the services of an extension that is not
	// configured any more stay after nothing needs them; mostly [RemovalGrace].
	RemovalGrace time.Duration
	Logger       *slog.Logger
}

// A trigger after a calm causes a pass at once, for whatever waits. Those that come
// within quiet of a pass or of one another cause one pass, but none waits longer than
// quietLimit. What a pass has asked somebody for comes soon after it, and only once:
// that it has come causes a pass at once too, unless others wait already.
const (
	quiet      = 10 * time.Millisecond
	quietLimit = 100 * time.Millisecond
)

// Core is the control loop.
type Core struct {
	opts    Options
	tables  *Tables
	journal *journal
	work    work
	recon   reconciler
	// pass does what one believed reading asks for: recon's, or a standalone's.
	pass func(context.Context, *snapshot.Snapshot, time.Time) ([]problem.Problem, time.Duration)

	mu     sync.Mutex
	latest *snapshot.Snapshot // newest reading not yet believed or reconciled
	// Each has an element while there is a reason for a pass; answered, that what a
	// pass has asked for has come.
	wake, answered chan struct{}
}

// New prepares a core; Run starts it.
func New(opts Options) *Core {
	c := newCore(opts)
	c.tables = newTables(c.answer)
	c.recon = reconciler{
		settings: opts.Settings, applier: opts.Applier, deliverer: opts.Deliverer, issuer: opts.Issuer,
		container: opts.Container, removalGrace: opts.RemovalGrace, tables: c.tables, log: opts.Logger, created: make(map[createdKey]time.Time), attempted: make(map[string]string),
		attachments: make(map[string]*attachments), rollouts: make(map[string]*rollout), courts: make(map[string]*court),
		mounts: make(map[string]*plan.SecretMounts), lacking: make(map[lack]time.Time), unneeded: make(map[string]time.Time), mountable: make(map[string]*mountable),
	}
	c.pass = c.recon.pass
	return c
}

func newCore(opts Options) *Core {
	return &Core{opts: opts, journal: &journal{log: opts.Logger}, wake: make(chan struct{}, 1), answered: make(chan struct{}, 1)}
}

// Tables is what extensions get and give.
func (c *Core) Tables() *Tables { return c.tables }

// Problems returns what is wrong and has been for a moment, sorted.
func (c *Core) Problems() []problem.Problem { return c.journal.current() }

// Run reconciles until ctx ends.
func (c *Core) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.opts.Source.Run(ctx, c.read) })
	group.Go(func() error { return c.watchDeliveries(ctx) })
	group.Go(func() error { return c.watchHealth(ctx) })
	group.Go(func() error { return c.loop(ctx) })
	return group.Wait()
}

func (c *Core) read(snap *snapshot.Snapshot) {
	c.mu.Lock()
	c.latest = snap
	c.mu.Unlock()
	c.trigger()
}

func (c *Core) trigger() { signal(c.wake) }

func (c *Core) answer() { signal(c.answered) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been said
	}
}

func (c *Core) watchDeliveries(ctx context.Context) error {
	for {
		_, outdated := c.opts.Deliverer.Statuses()
		select {
		case <-ctx.Done():
			return nil
		case <-outdated:
			c.trigger()
		}
	}
}

// healthEvery is how often a source is asked whether it still reads.
const healthEvery = 500 * time.Millisecond

// watchHealth triggers a pass when the source's health has changed.
func (c *Core) watchHealth(ctx context.Context) error {
	ticker := time.NewTicker(healthEvery)
	defer ticker.Stop()
	ill := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if now := c.opts.Source.Health() != nil; now != ill {
			ill = now
			c.trigger()
		}
	}
}

func (c *Core) loop(ctx context.Context) error {
	belief := belief{
		patience: c.opts.Settings.PollInterval + time.Second, container: c.opts.Container, confirm: c.opts.Source.Snapshot,
	}
	retry := time.NewTimer(0)
	defer retry.Stop()
	var acted time.Time // when the last pass ended
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			if time.Since(acted) >= quiet {
				break
			}
			if err := settle(ctx, c.wake); err != nil {
				return nil
			}
		case <-c.answered:
		case <-retry.C:
		}
		retry.Reset(orNever(c.act(ctx, &belief)))
		acted = time.Now()
	}
}

// act reconciles what is believed, and returns after how long to act again; 0
// for not before the next trigger.
func (c *Core) act(ctx context.Context, b *belief) time.Duration {
	c.mu.Lock()
	latest := c.latest
	c.mu.Unlock()
	snap, wait := b.consider(ctx, latest, time.Now())
	problems := append(b.problems(), c.staleness()...)
	if snap != nil {
		began := time.Now()
		found, again := c.pass(ctx, snap, began)
		c.work.add(time.Since(began))
		problems, wait = append(problems, found...), sooner(wait, again)
	}
	return sooner(wait, c.journal.record(problem.Sort(problems), time.Now()))
}

// staleness is a problem while Swarm is not read. What the source says of it may
// differ with every attempt, and is in the log.
func (c *Core) staleness() []problem.Problem {
	if c.opts.Source.Health() == nil {
		return nil
	}
	return []problem.Problem{{Kind: problem.Stale, Message: "Swarm cannot be read, so routes stay as they were: the core's log says why; see that the managers of the Swarm have a leader, and that the engine on the core's node answers"}}
}

// orNever turns a wait of 0, which is none, into one that never ends.
func orNever(wait time.Duration) time.Duration {
	if wait == 0 {
		return math.MaxInt64
	}
	return wait
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b > 0 && b < a) {
		return b
	}
	return a
}

// settle waits until no trigger has come for a while, or quietLimit is over.
func settle(ctx context.Context, wake <-chan struct{}) error {
	limit := time.NewTimer(quietLimit)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return nil
		case <-wake:
		case <-time.After(quiet):
			return nil
		}
	}
}

// bundleOf returns an answer's bundle in the form in which it is delivered.
func bundleOf(a answer, e settings.Extension) *delivery.Bundle {
	if a.bundle == nil {
		return nil
	}
	return &delivery.Bundle{
		Bundle: *a.bundle, Generation: a.generation, TableVersion: a.tableVersion, Drained: a.drained, Swapped: e.Native(),
	}
}
