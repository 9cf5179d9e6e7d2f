package proxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// tick is how coarse the clock is for what needs no precision: long deadlines, and
// dates.
const tick = 250 * time.Millisecond

// clock saves asking for the time where a tick more or less does not matter.
type clock struct {
	start time.Time
	// coarse is the time since start at the last tick.
	coarse atomic.Int64
	stamps atomic.Pointer[stamps]
}

// stamps are the texts of one second.
type stamps struct {
	second int64
	// date is for HTTP's Date (RFC 9110, section 5.6.7), local and iso for logs.
	date, local, iso []byte
}

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.advance(c.start)
	return c
}

// run advances the clock until the context ends.
func (c *clock) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			c.advance(now)
		}
	}
}

func (c *clock) advance(now time.Time) {
	c.coarse.Store(int64(now.Sub(c.start)))
	if s := c.stamps.Load(); s != nil && s.second == now.Unix() {
		return
	}
	c.stamps.Store(&stamps{
		second: now.Unix(),
		date:   now.UTC().AppendFormat(nil, http.TimeFormat),
		local:  now.AppendFormat(nil, "02/Jan/2006:15:04:05 -0700"),
		iso:    now.AppendFormat(nil, time.RFC3339),
	})
}

// about is the time since the start, up to a tick too early.
func (c *clock) about() time.Duration { return time.Duration(c.coarse.Load()) }

// now is the time since the start.
func (c *clock) now() time.Duration { return time.Since(c.start) }
