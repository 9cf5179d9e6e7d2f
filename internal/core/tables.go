package core

import (
	"sync"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// Tables holds, for every cluster, the table that is current and what its
// extension made of it. It is safe for concurrent use.
type Tables struct {
	mu         sync.Mutex
	generation uint64
	clusters   map[string]*clusterTable
	changed    func() // called when an extension has handed something back
}

type clusterTable struct {
	publication render.Publication
	params      string // fingerprint of the publication's parameters
	outdated    chan struct{}

	bundle           *render.Bundle
	bundleGeneration uint64
	bundleTable      string
	failure          string // why the newest table could not be rendered
}

func newTables(changed func()) *Tables {
	return &Tables{clusters: make(map[string]*clusterTable), changed: changed}
}

// cluster returns the entry of a cluster; the caller holds mu.
func (t *Tables) cluster(name string) *clusterTable {
	c := t.clusters[name]
	if c == nil {
		c = &clusterTable{outdated: make(chan struct{})}
		t.clusters[name] = c
	}
	return c
}

// Publication returns what a cluster's extension should render now, and a
// channel that is closed when it is out of date. Its table is nil as long as
// there is none.
func (t *Tables) Publication(cluster string) (render.Publication, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	return c.publication, c.outdated
}

// PutBundle takes what an extension rendered. One that is older than what is
// there is dropped.
func (t *Tables) PutBundle(cluster string, generation uint64, tableVersion string, b render.Bundle) {
	t.mu.Lock()
	c := t.cluster(cluster)
	fresh := generation >= c.bundleGeneration && generation <= c.publication.Generation
	if fresh {
		c.bundle, c.bundleGeneration, c.bundleTable, c.failure = &b, generation, tableVersion, ""
	}
	t.mu.Unlock()
	if fresh {
		t.changed()
	}
}

// PutFailure takes an extension's word that it could not render a table. The
// last bundle stays.
func (t *Tables) PutFailure(cluster string, generation uint64, _ string, reason string) {
	t.mu.Lock()
	c := t.cluster(cluster)
	fresh := generation == c.publication.Generation
	if fresh {
		c.failure = reason
	}
	t.mu.Unlock()
	if fresh {
		t.changed()
	}
}

// publish makes a table the current one of its cluster, unless it already is.
func (t *Tables) publish(cluster string, table *route.Table, params render.Parameters) {
	version, fingerprint := table.Version(), fingerprint(params)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	if c.publication.Table != nil && c.publication.Version == version && c.params == fingerprint {
		return
	}
	t.generation++
	c.publication = render.Publication{Generation: t.generation, Version: version, Table: table, Parameters: params}
	c.params = fingerprint
	close(c.outdated)
	c.outdated = make(chan struct{})
}

// rendered returns the newest bundle of a cluster, nil if there is none, and
// why the newest table could not be rendered, empty if it could.
func (t *Tables) rendered(cluster string) (bundle *render.Bundle, generation uint64, tableVersion, failure string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	return c.bundle, c.bundleGeneration, c.bundleTable, c.failure
}
