package rpc

import (
	"slices"
	"sync"
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
