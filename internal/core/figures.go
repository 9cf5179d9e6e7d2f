package core

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/problem"
)

// Figures are what a core has done since it began, and what it knows now.
type Figures struct {
	// SourceHealthy is false while Swarm cannot be read, or has not been yet.
	SourceHealthy bool
	// Passes are the readings that were acted on, and PassTime how long that took.
	Passes    uint64
	PassTime  time.Duration
	Published uint64           // tables
	Clusters  []ClusterFigures // sorted by name
	Problems  []ProblemFigures // sorted by kind
	Proxies   []ProxyFigures   // sorted by cluster and state
}

// ClusterFigures are of the newest table of a service cluster.
type ClusterFigures struct {
	Name, Version string
	Generation    uint64
	Rendered      bool // by the cluster's extension
}

// ProblemFigures are how many there are of a kind.
type ProblemFigures struct {
	Kind  problem.Kind
	Count int
}

// ProxyFigures are how many of a cluster's proxies are in a state.
type ProxyFigures struct {
	Cluster, State string
	Count          int
}

// work counts what a core does.
type work struct {
	passes atomic.Uint64
	took   atomic.Int64 // nanoseconds
}

func (w *work) add(took time.Duration) {
	w.passes.Add(1)
	w.took.Add(int64(took))
}

// Figures returns them as they are now.
func (c *Core) Figures() Figures {
	statuses, _ := c.opts.Deliverer.Statuses()
	f := Figures{Passes: c.work.passes.Load(), PassTime: time.Duration(c.work.took.Load()), Problems: countKinds(c.Problems())}
	f.SourceHealthy = c.Healthy()
	f.Published, f.Clusters = c.tables.figures()
	f.Proxies = countProxies(statuses, c.tables.served())
	return f
}

// Healthy reports whether Swarm has been read and can be.
func (c *Core) Healthy() bool { return c.work.passes.Load() > 0 && c.opts.Source.Health() == nil }

func (t *Tables) figures() (published uint64, list []ClusterFigures) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, c := range t.clusters {
		if c.publication.Table != nil {
			list = append(list, ClusterFigures{Name: name, Version: c.publication.Version, Generation: c.publication.Generation, Rendered: c.current()})
		}
	}
	slices.SortFunc(list, func(a, b ClusterFigures) int { return cmp.Compare(a.Name, b.Name) })
	return t.generation, list
}

// served are the versions of the bundles that clusters are to serve.
func (t *Tables) served() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	versions := make(map[string]string, len(t.clusters))
	for name, c := range t.clusters {
		versions[name] = c.answer.version
	}
	return versions
}

func countKinds(problems []problem.Problem) []ProblemFigures {
	counts := make(map[problem.Kind]int)
	for _, p := range problems {
		counts[p.Kind]++
	}
	list := make([]ProblemFigures, 0, len(counts))
	for kind, n := range counts {
		list = append(list, ProblemFigures{Kind: kind, Count: n})
	}
	slices.SortFunc(list, func(a, b ProblemFigures) int { return cmp.Compare(a.Kind, b.Kind) })
	return list
}

// countProxies sorts proxies by what they serve of what they are to.
func countProxies(statuses []delivery.Status, wanted map[string]string) []ProxyFigures {
	type cell struct{ cluster, state string }
	counts := make(map[cell]int)
	for _, s := range statuses {
		counts[cell{s.Cluster, proxyState(s, wanted[s.Cluster])}]++
	}
	list := make([]ProxyFigures, 0, len(counts))
	for c, n := range counts {
		list = append(list, ProxyFigures{Cluster: c.cluster, State: c.state, Count: n})
	}
	slices.SortFunc(list, func(a, b ProxyFigures) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.State, b.State))
	})
	return list
}

func proxyState(s delivery.Status, wanted string) string {
	switch {
	case !s.Connected:
		return "unreachable"
	case wanted != "" && s.RefusedVersion == wanted:
		return "refusing"
	case s.BundleVersion != wanted:
		return "outdated"
	}
	return "current"
}
