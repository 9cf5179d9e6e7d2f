package proxy

import (
	"net/netip"
	"sync"
	"time"
)

// clients are the connections that are open, bounded in all and for each
// address.
type clients struct {
	mu sync.Mutex

	limit, limitEach int

	open map[*conn]struct{}
	from map[netip.Addr]int
	// empty is closed when the last of them has gone and no more may come.
	empty    chan struct{}
	shutting bool
	// over says that all were ended, and none may follow.
	over bool
}

func (c *clients) bound(l Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.limitEach = l.Connections, l.ConnectionsPerAddress
}

func (c *clients) init() {
	c.open, c.from, c.empty = map[*conn]struct{}{}, map[netip.Addr]int{}, make(chan struct{})
}

// enter reports whether a connection may be served.
func (c *clients) enter(n *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := n.remote.Addr()
	if c.shutting || c.over || len(c.open) >= c.limit || c.from[addr] >= c.limitEach {
		return false
	}
	c.open[n] = struct{}{}
	c.from[addr]++
	return true
}

// enterAnyway reports whether there is room to tell a client that there is none.
func (c *clients) enterAnyway(n *conn) bool {
	const spare = 256
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shutting || c.over || len(c.open) >= c.limit+spare {
		return false
	}
	c.open[n] = struct{}{}
	c.from[n.remote.Addr()]++
	return true
}

func (c *clients) leave(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, n)
	addr := n.remote.Addr()
	if c.from[addr]--; c.from[addr] == 0 {
		delete(c.from, addr)
	}
	if c.shutting && len(c.open) == 0 {
		close(c.empty)
	}
}

func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// shut waits until all are gone. Those that are idle are ended at once, the
// others when the time is over.
func (c *clients) shut(within time.Duration) {
	c.mu.Lock()
	c.shutting = true
	none := len(c.open) == 0
	for n := range c.open {
		n.endIfIdle()
	}
	c.mu.Unlock()
	if none {
		return
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.empty:
		return
	case <-timer.C:
	}
	c.cut()
	<-c.empty
}

// cut ends all of them, and takes no more.
func (c *clients) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for n := range c.open {
		n.end()
	}
}
