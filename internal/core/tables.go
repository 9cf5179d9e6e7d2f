package core

import (
	"slices"
	"sync"
	"time"

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

	published time.Time
	// drained is the newest generation that has taken an endpoint away.
	drained uint64
	// issued are the last publications, the newest last: what an extension answers
	// late may be meant for another core.
	issued []issue
	answer answer
	trial  *trial // nil: nothing is tried
}

// issue is one publication.
type issue struct {
	generation uint64
	version    string // of its table
	drained    uint64 // the newest generation, up to it, that has taken an endpoint away
}

// remembered is how many of its cluster's publications an answer may be late. While
// much changes there are ten a second, and of 10,000 hosts a table takes seconds to
// be rendered on a busy machine: were all answers too late, proxies would get none.
const remembered = 256

// issueOf is the publication of a generation and a table; nil: there was none.
func (c *clusterTable) issueOf(generation uint64, tableVersion string) *issue {
	for i := range c.issued {
		if of := &c.issued[i]; of.generation == generation && of.version == tableVersion {
			return of
		}
	}
	return nil
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
// there is none. What is tried is rendered after what is to be served.
func (t *Tables) Publication(cluster string) (render.Publication, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	if c.trial != nil && c.answered() && !c.trial.answered() {
		return c.trial.publication, c.outdated
	}
	return c.publication, c.outdated
}

// PutBundle takes what an extension rendered. One that is older than what is
// there is dropped, and so is one of the same table that lacks more: while an
// extension is replaced, its old task and its new one both render every table,
// and only one of them has the newest secrets.
func (t *Tables) PutBundle(cluster string, generation uint64, tableVersion string, r render.Result) {
	version := r.Bundle.Version() // of megabytes perhaps, so not while others wait
	t.mu.Lock()
	c := t.cluster(cluster)
	of := c.issueOf(generation, tableVersion)
	fresh := of != nil && !c.answer.beats(generation, &r)
	if c.trial.is(generation, tableVersion) {
		c.trial.bundle, fresh = &r.Bundle, true
	} else if fresh {
		c.answer = answer{
			bundle: &r.Bundle, version: version, generation: generation, tableVersion: tableVersion, drained: of.drained,
			findings: r.Findings, missing: r.Missing,
		}
	}
	if fresh && c.trial != nil {
		c.outdate() // it may be the trial's turn, or no longer
	}
	t.mu.Unlock()
	if fresh {
		t.changed()
	}
}

// PutFailure takes an extension's word that it could not render a table. The
// last bundle stays.
func (t *Tables) PutFailure(cluster string, generation uint64, tableVersion, reason string) {
	t.mu.Lock()
	c := t.cluster(cluster)
	fresh := generation == c.publication.Generation && c.issueOf(generation, tableVersion) != nil
	if c.trial.is(generation, tableVersion) {
		c.trial.failure, fresh = reason, true
	} else if fresh {
		c.answer.failure = reason
	}
	if fresh && c.trial != nil {
		c.outdate() // it may be the trial's turn, or no longer
	}
	t.mu.Unlock()
	if fresh {
		t.changed()
	}
}

// publish makes a table the current one of its cluster, and returns its generation;
// 0: it already is.
func (t *Tables) publish(cluster string, built route.Built, params render.Parameters, now time.Time) (generation uint64) {
	fingerprint := fingerprint(params)
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	if c.publication.Table != nil && c.publication.Version == built.Version && c.params == fingerprint {
		return 0
	}
	t.generation++
	if route.Drains(c.publication.Table, built.Table) {
		c.drained = t.generation
	}
	c.publication = render.Publication{Generation: t.generation, Version: built.Version, Table: built.Table, Parameters: params}
	c.params, c.published, c.answer.failure = fingerprint, now, ""
	c.remember()
	c.outdate()
	return t.generation
}

// outdate must be called with mu held. Whoever watches looks again.
func (c *clusterTable) outdate() {
	close(c.outdated)
	c.outdated = make(chan struct{})
}

// answered reports whether the extension has had its say about what is to be
// served.
func (c *clusterTable) answered() bool {
	return c.answer.failure != "" || c.current()
}

// current reports whether the extension has rendered the newest table.
func (c *clusterTable) current() bool {
	return c.answer.bundle != nil && c.answer.generation == c.publication.Generation
}

func (c *clusterTable) remember() {
	if len(c.issued) == remembered {
		c.issued = slices.Delete(c.issued, 0, 1)
	}
	c.issued = append(c.issued, issue{c.publication.Generation, c.publication.Version, c.drained})
}

// answer is what a cluster's extension made of the tables.
type answer struct {
	bundle       *render.Bundle // nil if there is none
	version      string         // the bundle's
	generation   uint64         // of the table that it was rendered from
	drained      uint64         // as delivery.Bundle has it
	tableVersion string
	findings     []render.Finding
	missing      []string     // names of materials, sorted
	table        *route.Table // the newest
	asked        time.Time    // when the newest table was published
	current      bool         // whether the bundle is the newest table's
	failure      string       // why the newest table could not be rendered
}

// beats reports whether the answer stays although another one has come, for the
// table of the given generation.
func (a *answer) beats(generation uint64, r *render.Result) bool {
	sameTable := a.bundle != nil && a.generation == generation
	return a.generation > generation || sameTable && len(a.missing) < len(r.Missing)
}

// rendered returns a cluster's newest answer.
func (t *Tables) rendered(cluster string) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	a := c.answer
	a.table, a.asked, a.current = c.publication.Table, c.published, c.current()
	return a
}
