package core

import (
	"time"

	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// trial is a table that is rendered to be tried, and not to be served.
type trial struct {
	number      int // see quarantine.Trial
	publication render.Publication
	began       time.Time
	bundle      *render.Bundle // nil: not rendered yet
	failure     string         // why it could not be rendered
}

func (t *trial) answered() bool { return t.bundle != nil || t.failure != "" }

// is may be called on no trial.
func (t *trial) is(generation uint64, tableVersion string) bool {
	return t != nil && t.publication.Generation == generation && t.publication.Version == tableVersion
}

// try has a table rendered to be tried, in the place of any before.
func (t *Tables) try(cluster string, number int, table *route.Table, params render.Parameters, now time.Time) {
	version := table.Version()
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(cluster)
	t.generation++
	c.trial = &trial{number: number, began: now, publication: render.Publication{
		Generation: t.generation, Version: version, Table: table, Parameters: params,
	}}
	c.outdate()
}

// endTrial is for when nothing is to be tried any more.
func (t *Tables) endTrial(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.cluster(cluster); c.trial != nil {
		c.trial = nil
		c.outdate()
	}
}

// trying returns a cluster's trial; ok is false if there is none.
func (t *Tables) trying(cluster string) (current trial, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.cluster(cluster); c.trial != nil {
		return *c.trial, true
	}
	return trial{}, false
}

// deliverable returns what is tried in the form in which it is delivered; nil if
// it is not rendered.
func (t *trial) deliverable() *delivery.Bundle {
	if t.bundle == nil {
		return nil
	}
	return &delivery.Bundle{Bundle: *t.bundle, Generation: t.publication.Generation, TableVersion: t.publication.Version}
}
