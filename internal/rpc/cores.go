package rpc

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// cores are the epochs of the cores that follow an agent's status now. A core
// that has been replaced may live on for a while, behind a partition or beside a
// new one that Swarm started too early; the agent obeys the newest that it
// hears. Who is not there does not count, so that a clock that was wrong once
// has no consequences.
type cores struct {
	mu    sync.Mutex
	known map[uint64]int // streams by epoch
}

// enter counts a core until leave is called.
func (c *cores) enter(epoch uint64) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[uint64]int)
	}
	c.known[epoch]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.known[epoch]--; c.known[epoch] == 0 {
			delete(c.known, epoch)
		}
	}
}

// newest is the greatest epoch among the cores; 0: there is none.
func (c *cores) newest() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var newest uint64
	for epoch := range c.known {
		newest = max(newest, epoch)
	}
	return newest
}

// outranked is what a core is told that has been replaced.
func outranked(by uint64) string {
	started := time.Unix(0, int64(min(by, math.MaxInt64))).UTC()
	return fmt.Sprintf("a newer core is in charge, which started at %s", started.Format(time.RFC3339))
}
