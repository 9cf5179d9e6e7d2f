package proxy

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// firstPause and longestPause are between probes of one endpoint, give or take
	// a quarter; each is twice the one before.
	firstPause, longestPause = 50 * time.Millisecond, time.Second
	// maxProbes is how many are under way at once.
	maxProbes = 128
)

// prober connects to the endpoints that wait for it, until they take connections
// or are drained.
type prober struct {
	clock *clock
	// within is how long a connection may take to be made.
	within  func() time.Duration
	accepts func(context.Context, netip.AddrPort) bool
	wake    chan struct{}

	mu      sync.Mutex
	waiting map[*endpoint]*probe
	running int
}

// probe is what is next for an endpoint.
type probe struct {
	at, pause time.Duration
	running   bool
}

func newProber(c *clock, within func() time.Duration, accepts func(context.Context, netip.AddrPort) bool) *prober {
	if accepts == nil {
		accepts = connects
	}
	return &prober{clock: c, within: within, accepts: accepts, wake: make(chan struct{}, 1), waiting: map[*endpoint]*probe{}}
}

// add has an endpoint probed after a pause.
func (p *prober) add(e *endpoint, pause time.Duration) {
	p.mu.Lock()
	if p.waiting[e] == nil {
		p.waiting[e] = &probe{at: p.clock.now() + jittered(pause), pause: max(pause, firstPause)}
	}
	p.mu.Unlock()
	p.nudge()
}

func (p *prober) nudge() {
	select {
	case p.wake <- struct{}{}:
	default: // it has not seen the last one yet
	}
}

// run probes until the context ends.
func (p *prober) run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.start(ctx, &probes))
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// start begins the probes that are due, and returns when the next may be.
func (p *prober) start(ctx context.Context, probes *sync.WaitGroup) (next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.now()
	next = time.Hour
	for e, its := range p.waiting {
		switch {
		case its.running:
		case !e.suspended() || e.isDrained():
			delete(p.waiting, e)
		case its.at > now:
			next = min(next, its.at-now)
		case p.running < maxProbes:
			its.running = true
			p.running++
			probes.Go(func() { p.ended(e, p.ask(ctx, e)) })
		}
	}
	return max(next, time.Millisecond)
}

// ended takes the result of a probe down.
func (p *prober) ended(e *endpoint, connected bool) {
	p.mu.Lock()
	p.running--
	its := p.waiting[e]
	its.running = false
	its.pause = min(2*its.pause, longestPause)
	its.at = p.clock.now() + jittered(its.pause)
	if connected {
		e.resume()
		delete(p.waiting, e)
	}
	p.mu.Unlock()
	p.nudge()
}

func (p *prober) ask(ctx context.Context, e *endpoint) bool {
	ctx, cancel := context.WithTimeout(ctx, p.within())
	defer cancel()
	return p.accepts(ctx, e.addr)
}

func connects(ctx context.Context, addr netip.AddrPort) bool {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// jittered keeps proxies from probing in step.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d/2)+1))
}
