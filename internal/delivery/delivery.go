// Package delivery brings bundles to the proxies: it dials the agent beside each
// proxy, hands it the newest bundle of its cluster for as long as the proxy
// serves another one, follows what every proxy serves, asks which addresses it can
// connect to, and renews the proxies' identities over the open connections.
//
// It does not know what a bundle contains or how it came about, does not look for
// proxies and does not decide what a refusal means for anybody else.
package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/render"
)

// Proxy is where one proxy's agent listens.
type Proxy struct {
	Task string
	Node string
	Addr netip.AddrPort
}

// Bundle is what the proxies of a cluster shall serve. Nobody may change it once
// it has been handed to Deliver.
type Bundle struct {
	render.Bundle
	Generation   uint64 // of the table that it was rendered from
	TableVersion string
	// Drained is the newest generation, up to this one, that has taken an endpoint
	// away. A proxy that serves an older one is sent the bundle sooner.
	Drained uint64
	// Swapped says that proxies take the bundle while they serve, without new
	// workers: then it needs little pace.
	Swapped bool
}

// Status is what is known about one proxy.
type Status struct {
	Cluster string
	Proxy
	Connected bool
	// BundleVersion and TableVersion are what the proxy serves, as far as it has
	// told; empty: nothing yet. They stay when the connection is lost.
	BundleVersion string
	TableVersion  string
	// RefusedVersion is the bundle that the proxy refused last, and Refusal why;
	// both are empty when it took the last one.
	RefusedVersion string
	Refusal        string
	// Tried is what the proxy was last asked about, without having to serve it.
	Tried Answer
	// LastError is what went wrong last between here and the proxy; empty when
	// nothing has since the last success.
	LastError string

	former bool // the agent has other versions: those from before it took changes
}

// Answer is what a proxy says to a bundle that it was asked about.
type Answer struct {
	Version string // of the bundle; empty: it was not asked
	Refusal string // empty: it would serve the bundle, unless Failure says more
	Failure string // why it did not judge; it is asked again
}

// Options are what the deliverer needs from others. All are required.
type Options struct {
	// Epoch is when this core started, in Unix nanoseconds: a proxy that hears
	// from two cores obeys the one that started later.
	Epoch uint64
	// TLS is how to dial the proxies of a cluster.
	TLS func(cluster string) *tls.Config
	// Sign certifies a proxy's new key. Request (PKCS #10) and certificate are DER.
	Sign func(cluster string, request []byte) (certificate []byte, err error)
	// RenewAt is when a certificate with that validity should be renewed.
	RenewAt func(notBefore, notAfter time.Time) time.Time
	Logger  *slog.Logger
}

// Deliverer keeps one connection to each proxy. It is safe for concurrent use.
type Deliverer struct {
	options Options
	changed chan struct{} // holds a token when Deliver has news for Run

	delivering sync.Mutex // held by Deliver, and before mu

	mu       sync.Mutex
	clusters map[string]*cluster
	trials   map[string]*trial // by cluster
	statuses map[target]Status
	outdated chan struct{} // closed when statuses change
	// inquiries are by cluster; unable are proxies that answer none.
	inquiries map[string]*admission.Inquiry
	unable    map[target]bool
}

// cluster is what Deliver was told last about a service cluster.
type cluster struct {
	proxies []Proxy
	wanted  *wanted   // nil: nothing yet
	former  []*wanted // the ones before, the newest first
}

// trial is a bundle that one proxy is asked about.
type trial struct {
	*wanted
	task string
}

// target is one proxy of one cluster. One that moves is another target.
type target struct {
	cluster string
	Proxy
}

// New makes a deliverer that knows no proxy yet.
func New(o Options) *Deliverer {
	return &Deliverer{
		options:  o,
		changed:  make(chan struct{}, 1),
		clusters: make(map[string]*cluster),
		trials:   make(map[string]*trial),
		statuses: make(map[target]Status),
		outdated: make(chan struct{}),

		inquiries: make(map[string]*admission.Inquiry),
		unable:    make(map[target]bool),
	}
}

// Deliver says which proxies a cluster has and what they shall serve; nil: it is
// not known yet, and the proxies are only watched. It returns at once. Proxies
// that are no longer listed are hung up on.
func (d *Deliverer) Deliver(name string, proxies []Proxy, b *Bundle) {
	d.delivering.Lock()
	defer d.delivering.Unlock()
	w := d.prepare(name, b)
	d.mu.Lock()
	if len(proxies) == 0 && b == nil {
		delete(d.clusters, name)
	} else {
		if d.clusters[name] == nil {
			d.clusters[name] = new(cluster)
		}
		d.clusters[name].proxies = slices.Clone(proxies)
		d.clusters[name].follow(w)
	}
	d.mu.Unlock()
	signal(d.changed)
}

// prepare makes a bundle ready to be sent, unless it is already. It goes through
// all files, which takes a while: mu is not held meanwhile.
func (d *Deliverer) prepare(cluster string, b *Bundle) *wanted {
	if b == nil {
		return nil
	}
	if before := d.wanted(cluster); before != nil && same(before.source, b) {
		return before
	}
	return newWanted(b)
}

// same reports whether two bundles are one: they share the very files. Whoever
// asks every time anew wraps them anew.
func same(a, b *Bundle) bool {
	return len(a.Files) == len(b.Files) && len(a.Files) > 0 && &a.Files[0] == &b.Files[0] &&
		a.Token == b.Token && a.Generation == b.Generation && a.TableVersion == b.TableVersion
}

// Try asks one proxy of a cluster, by its task, whether it would serve a bundle;
// nil: nothing is asked any more. It returns at once, and the answer shows in the
// proxy's status. What is asked now takes the place of what was asked before.
func (d *Deliverer) Try(name, task string, b *Bundle) {
	d.delivering.Lock()
	defer d.delivering.Unlock()
	d.mu.Lock()
	before := d.trials[name]
	d.mu.Unlock()
	var next *trial
	switch {
	case b == nil && before == nil:
		return
	case b != nil && before != nil && before.task == task && same(before.source, b):
		return
	case b != nil:
		next = &trial{newWanted(b), task}
	}
	d.mu.Lock()
	d.trials[name] = next
	d.mu.Unlock()
	signal(d.changed)
}

// tried is what a proxy is to be asked about; nil: nothing.
func (d *Deliverer) tried(t target) *trial {
	d.mu.Lock()
	defer d.mu.Unlock()
	if next := d.trials[t.cluster]; next != nil && next.task == t.Task {
		return next
	}
	return nil
}

// Run delivers until ctx ends. It returns nil, once every connection is closed.
func (d *Deliverer) Run(ctx context.Context) error {
	couriers := make(map[target]*courier)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.changed:
			d.assign(ctx, couriers, &running)
		}
	}
}

// assign gives every proxy a courier, sends away those whose proxy is no longer
// listed and tells the others to look at what is wanted.
func (d *Deliverer) assign(ctx context.Context, couriers map[target]*courier, running *sync.WaitGroup) {
	listed := d.targets()
	d.list(listed)
	for t, c := range couriers {
		if !listed[t] {
			c.hangUp()
			delete(couriers, t)
		}
	}
	for t := range listed {
		c, known := couriers[t]
		if !known {
			c = newCourier(ctx, d, t)
			couriers[t] = c
			running.Go(c.run)
		}
		signal(c.news)
		signal(c.questions)
	}
}

func (d *Deliverer) targets() map[target]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	listed := make(map[target]bool)
	for name, c := range d.clusters {
		for _, p := range c.proxies {
			listed[target{name, p}] = true
		}
	}
	return listed
}

func (d *Deliverer) wanted(cluster string) *wanted {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clusters[cluster]; c != nil {
		return c.wanted
	}
	return nil
}

// known is the bundle of that version; nil if it is not among the last ones that
// the cluster was to serve.
func (d *Deliverer) known(cluster, version string) *wanted {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clusters[cluster]; c != nil {
		return c.known(version)
	}
	return nil
}

// Statuses says what is known about every listed proxy, sorted by cluster, node
// and task. The channel is closed when that is out of date.
func (d *Deliverer) Statuses() ([]Status, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Status, 0, len(d.statuses))
	for _, s := range d.statuses {
		list = append(list, d.present(s))
	}
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Node, b.Node),
			strings.Compare(a.Task, b.Task), a.Addr.Compare(b.Addr))
	})
	return list, d.outdated
}

// present is a status with the present version of what is wanted in the place of
// the former one. The caller holds mu.
func (d *Deliverer) present(s Status) Status {
	if c := d.clusters[s.Cluster]; s.former && c != nil && c.wanted != nil {
		for _, version := range []*string{&s.BundleVersion, &s.RefusedVersion} {
			if c.wanted.is(*version, true) {
				*version = c.wanted.version
			}
		}
	}
	s.former = false
	return s
}

// note changes what is known about a proxy, unless it is no longer listed.
func (d *Deliverer) note(t target, change func(*Status)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, listed := d.statuses[t]
	after := before
	change(&after)
	if listed && after != before {
		d.statuses[t] = after
		d.announce()
	}
}

// list makes the statuses those of the listed proxies.
func (d *Deliverer) list(listed map[target]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.statuses)
	for t := range d.statuses {
		if !listed[t] {
			delete(d.statuses, t)
			delete(d.unable, t)
		}
	}
	changed := len(d.statuses) != before
	for t := range listed {
		if _, known := d.statuses[t]; !known {
			d.statuses[t] = Status{Cluster: t.cluster, Proxy: t.Proxy}
			changed = true
		}
	}
	if changed {
		d.announce()
	}
}

// announce must be called with mu held.
func (d *Deliverer) announce() {
	close(d.outdated)
	d.outdated = make(chan struct{})
}

// signal leaves a token in a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
