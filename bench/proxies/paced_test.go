package proxies

import (
	"context"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// askAtARate sends requests when they are due, whether or not those before have
// been answered, as far as there are connections for it. The time of each begins
// when it was due: what waits for a slow proxy is in it.
func askAtARate(ctx context.Context, j *job) error {
	const backlog = 1 << 16
	due := make(chan time.Time, backlog)
	t := &tally{}
	var all sync.WaitGroup
	for range j.Connections {
		c, err := j.dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.one(); err != nil {
			return err
		}
		all.Go(func() {
			for at := range due {
				err := c.one()
				t.add(time.Since(at), err)
			}
		})
	}
	t.began = time.Now()
	pace(due, t.began, j)
	close(due)
	all.Wait()
	return t.print()
}

// pace says when requests are due. It has a thread of its own that sleeps in the
// kernel: timers of the runtime are late by a millisecond.
func pace(due chan<- time.Time, began time.Time, j *job) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	between := time.Duration(float64(time.Second) / j.Rate)
	for at := began; at.Sub(began) < j.For; at = at.Add(between) {
		if wait := time.Until(at); wait > 0 {
			pause := syscall.NsecToTimespec(int64(wait))
			_ = syscall.Nanosleep(&pause, nil)
		}
		due <- at
	}
}
