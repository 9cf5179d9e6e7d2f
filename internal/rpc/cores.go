package rpc

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// cores are the cores that follow an agent's status now, by epoch. A core that
// has been replaced may live on for a while, behind a partition or beside a new
// one that Swarm started too early; the agent obeys the newest that has brought
// it a bundle. One that only watches, such as the second of two that has nothing
// to bring, outranks nobody, and who is not there does not count, so that a
// clock that was wrong once has no consequences.
type cores struct {
	mu    sync.Mutex
	known map[uint64]*presence
}

type presence struct {
	streams  int
	delivers bool
}

// enter counts a core until leave is called.
func (c *cores) enter(epoch uint64) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[uint64]*presence)
	}
	if c.known[epoch] == nil {
		c.known[epoch] = &presence{}
	}
	c.known[epoch].streams++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.known[epoch].streams--; c.known[epoch].streams == 0 {
			delete(c.known, epoch)
		}
	}
}

// deliver admits a core's bundle, unless a newer core delivers: then it returns
// that one's epoch.
func (c *cores) deliver(epoch uint64) (newer uint64, admitted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, p := range c.known {
		if p.delivers && other > epoch {
			newer = max(newer, other)
		}
	}
	if newer > 0 {
		return newer, false
	}
	if p := c.known[epoch]; p != nil {
		p.delivers = true
	}
	return 0, true
}

// outranked is what a core is told that has been replaced.
func outranked(by uint64) string {
	started := time.Unix(0, int64(min(by, math.MaxInt64))).UTC()
	return fmt.Sprintf("a newer core is in charge, which started at %s", started.Format(time.RFC3339))
}
