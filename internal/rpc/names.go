package rpc

import (
	"slices"
	"sync"
)

// names are what a core calls bundles that was made before bundles had their
// present versions: it is told by these what the proxy serves. The zero value is
// ready; it is safe for concurrent use.
type names struct {
	mu    sync.Mutex
	known []name // the newest last
}

type name struct{ version, former string }

// knownNames is how many bundles have a name: one is served, another refused.
const knownNames = 4

// hear notes what a core says of a bundle. One that knows the present version, or
// says none, takes the place of the core before, and with it go its names.
func (n *names) hear(version, said string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if said == "" || said == version {
		n.known = nil
		return
	}
	n.known = append(n.known[max(len(n.known)-knownNames+1, 0):], name{version, said})
}

// of is what the core calls the bundle of that version.
func (n *names) of(version string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, known := range slices.Backward(n.known) {
		if known.version == version {
			return known.former
		}
	}
	return version
}
