package rpc

import (
	"slices"
	"sync"

	"github.com/interlock-lb/interlock/internal/render"
)

// extensions are the connections that follow a cluster's tables, in the order in
// which they came. While an extension service is updated, the task that goes and
// the one that follows it are both there, and the latter knows more: it was
// started with all secrets. So once it has handed something back, the task before
// is not listened to any more. The zero value is ready; it is safe for
// concurrent use.
type extensions struct {
	mu       sync.Mutex
	clusters map[string][]*follower
}

// follower is one connection, by the address that it comes from.
type follower struct {
	address  string
	answered bool
	last     render.Bundle // that it handed back, for what it changes next
	version  string        // of last; empty: it has not handed back any
}

// enter notes that a connection follows a cluster's tables, until leave.
func (e *extensions) enter(cluster, address string) (leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.clusters == nil {
		e.clusters = make(map[string][]*follower)
	}
	f := &follower{address: address}
	e.clusters[cluster] = append(e.clusters[cluster], f)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.clusters[cluster] = slices.DeleteFunc(e.clusters[cluster], func(other *follower) bool { return other == f })
	}
}

// heed reports whether what comes from an address counts. Who does not follow the
// tables, or no longer, will when it is connected again, and hands it back again.
func (e *extensions) heed(cluster, address string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range slices.Backward(e.clusters[cluster]) {
		if f.address == address {
			f.answered = true
			return true
		}
		if f.answered {
			return false
		}
	}
	return true
}

// handedBack notes the bundle that a connection has handed back last.
func (e *extensions) handedBack(cluster, address string, b render.Bundle) {
	version := b.Version()
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.find(cluster, address); f != nil {
		f.last, f.version = b, version
	}
}

// base is the bundle of that version; nil if the connection did not hand it back
// last.
func (e *extensions) base(cluster, address, version string) *render.Bundle {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.find(cluster, address)
	if f == nil || f.version == "" || f.version != version {
		return nil
	}
	last := f.last
	return &last
}

// find must be called with mu held. It returns nil for who does not follow.
func (e *extensions) find(cluster, address string) *follower {
	for _, f := range e.clusters[cluster] {
		if f.address == address {
			return f
		}
	}
	return nil
}
