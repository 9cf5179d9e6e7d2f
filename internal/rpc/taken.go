package rpc

import (
	"errors"
	"sync"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/wire"
)

// errBaseUnknown is when the other side does not have the bundle that a change is of.
var errBaseUnknown = errors.New("the bundle before is not there")

// taken is the last bundle that the core took on one stream of tables. It is safe
// for concurrent use.
type taken struct {
	mu      sync.Mutex
	changes bool // the core takes changes
	bundle  render.Bundle
	version string // of bundle; empty: none yet
}

// begin is for a new stream, be it to another core.
func (t *taken) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes, t.bundle, t.version = false, render.Bundle{}, ""
}

// hear notes whether the core takes changes.
func (t *taken) hear(changes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes = changes
}

func (t *taken) mayChange() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes
}

func (t *taken) took(b render.Bundle, version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bundle, t.version = b, version
}

// change is what a bundle changes of the one that was taken; nil where the whole
// one is to be sent.
func (t *taken) change(b *render.Bundle, version string) *interlockv1.BundleChange {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.changes || t.version == "" {
		return nil
	}
	return wire.BundleChangeMessage(&t.bundle, t.version, b, version)
}
