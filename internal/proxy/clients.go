package proxy

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// clients are the connections that are open, bounded in all and for each
// address.
type clients struct {
	mu sync.Mutex

	limit, limitEach int

	open map[*conn]struct{}
	from map[netip.Addr]int
	// empty is closed when the last of them has gone; nil: nobody waits for that.
	empty chan struct{}
	// shutting says that no more may come, and none may wait for a request.
	shutting atomic.Bool
	// over says that all were ended, and none may follow.
	over bool
}

func (c *clients) bound(l Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.limitEach = l.Connections, l.ConnectionsPerAddress
}

func (c *clients) init() {
	c.open, c.from = map[*conn]struct{}{}, map[netip.Addr]int{}
}

// enter reports whether a connection may be served.
func (c *clients) enter(n *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := n.remote.Addr()
	if c.shutting.Load() || c.over || len(c.open) >= c.limit || c.from[addr] >= c.limitEach {
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
	if c.shutting.Load() || c.over || len(c.open) >= c.limit+spare {
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
	if len(c.open) == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// parting is how long clients may still ask on connections that they keep when
// the server ends, and are told then that the connection closes. Were an idle one
// closed at once, the request that is on its way on it just then would be lost.
const parting = 2 * time.Second

// shut waits until all are gone. Those that are idle are ended at once, the others
// when the time is over.
func (c *clients) shut(within time.Duration) {
	c.endIdle()
	if !c.await(within) {
		c.cut()
		c.await(math.MaxInt64)
	}
}

// await waits until nobody is there, or the time is over, and reports which.
func (c *clients) await(within time.Duration) (none bool) {
	c.mu.Lock()
	if len(c.open) == 0 {
		c.mu.Unlock()
		return true
	}
	empty := make(chan struct{})
	c.empty = empty
	c.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-empty:
		return true
	case <-timer.C:
		return false
	}
}

func (c *clients) endIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutting.Store(true)
	for n := range c.open {
		n.endIfIdle()
	}
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
