package delivery

import (
	"sync"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/wire"
)

// remembered is how many bundles of a cluster are kept after the newest one, to
// send what has changed since: to proxies that served them before they were dialled.
const remembered = 4

// wanted is a bundle ready to be sent. All proxies of a cluster share it, and what
// it changes of another one is found out once. It is safe for concurrent use.
type wanted struct {
	source  *Bundle
	version string
	whole   func() *interlockv1.Bundle
	// former is what agents call the bundle that take no changes.
	former func() string

	mu      sync.Mutex
	changes map[string]*interlockv1.BundleChange // by the other one's version
}

func newWanted(b *Bundle) *wanted {
	return &wanted{
		source: b, version: b.Version(), former: sync.OnceValue(b.FormerVersion),
		whole:   sync.OnceValue(func() *interlockv1.Bundle { return wire.BundleMessage(&b.Bundle) }),
		changes: make(map[string]*interlockv1.BundleChange),
	}
}

// change is what the bundle changes of another one; nil where it is to be sent as
// a whole, as it is where there is no other one.
func (w *wanted) change(base *wanted) *interlockv1.BundleChange {
	if base == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	change, known := w.changes[base.version]
	if !known {
		change = wire.BundleChangeMessage(&base.source.Bundle, base.version, &w.source.Bundle, w.version)
		w.changes[base.version] = change
	}
	return change
}

// wholeFor is all of the bundle. Agents that take no changes would expect another
// version than it has.
func (w *wanted) wholeFor(takesChanges bool) *interlockv1.Bundle {
	whole := w.whole()
	if takesChanges {
		return whole
	}
	return &interlockv1.Bundle{Files: whole.GetFiles(), Token: whole.GetToken()}
}

// is reports whether a version is the bundle's, or the one by which an agent that
// has the former versions would call it.
func (w *wanted) is(version string, former bool) bool {
	return version == w.version || former && version != "" && version == w.former()
}

func (w *wanted) content() content { return content{w.version, w.source.TableVersion} }

// follow makes what is wanted now the newest of a cluster's bundles.
func (c *cluster) follow(w *wanted) {
	if c.wanted != nil && c.wanted != w {
		c.former = append([]*wanted{c.wanted}, c.former[:min(len(c.former), remembered-1)]...)
	}
	c.wanted = w
}

// known is the bundle of that version; nil if it is not among the last ones.
func (c *cluster) known(version string) *wanted {
	if c.wanted != nil && c.wanted.version == version {
		return c.wanted
	}
	for _, w := range c.former {
		if w.version == version {
			return w
		}
	}
	return nil
}
