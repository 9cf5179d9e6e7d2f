package proxy

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Between two probes of one endpoint is a pause, give or take a quarter: at first
// a short one, then a quarter of how long it has been probed for.
const (
	newPause     = 10 * time.Millisecond // of one that has just come: its app may be about to listen
	failedPause  = 50 * time.Millisecond // of one that took no connection, also before the first probe
	longestPause = time.Second
	// maxProbes is how many are under way at once.
	maxProbes = 128
	// restEach is what is rested between two looks at the endpoints that wait, for
	// each of them: some times what a look costs.
	restEach = 2 * time.Microsecond
)

// prober connects to the endpoints that wait for it, until they take connections
// or are drained.
type prober struct {
	clock  *clock
	panics *panics
	// within is how long a connection may take to be made.
	within  func() time.Duration
	accepts func(context.Context, netip.AddrPort) bool
	wake    chan struct{}

	mu      sync.Mutex
	waiting map[*endpoint]*probe
	running int
}

// probe is what is next for an endpoint. Its times are on the clock.
type probe struct {
	at, since, least time.Duration
	running          bool
}

func newProber(c *clock, o *panics, within func() time.Duration, accepts func(context.Context, netip.AddrPort) bool) *prober {
	if accepts == nil {
		accepts = connects
	}
	return &prober{clock: c, panics: o, within: within, accepts: accepts, wake: make(chan struct{}, 1), waiting: map[*endpoint]*probe{}}
}

// probe has an endpoint that has just come probed at once.
func (p *prober) probe(e *endpoint) { p.add(e, 0, newPause) }

// again has one probed, after a pause, that took no connection just now.
func (p *prober) again(e *endpoint) { p.add(e, failedPause, failedPause) }

func (p *prober) add(e *endpoint, wait, least time.Duration) {
	p.mu.Lock()
	if p.waiting[e] == nil {
		now := p.clock.now()
		p.waiting[e] = &probe{at: now + jittered(wait), since: now, least: least}
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
		next, looked := p.start(ctx, &probes)
		// Each probe that ends asks for a look at all: with thousands of them most
		// of the time goes by between two looks.
		sleep(ctx, time.Duration(looked)*restEach)
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// start begins the probes that are due, and returns when the next may be and how many
// endpoints wait.
func (p *prober) start(ctx context.Context, probes *sync.WaitGroup) (next time.Duration, waiting int) {
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
	return max(next, time.Millisecond), len(p.waiting)
}

// ended takes the result of a probe down.
func (p *prober) ended(e *endpoint, connected bool) {
	defer p.nudge()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	its := p.waiting[e]
	its.running = false
	now := p.clock.now()
	its.at = now + jittered(min(its.least+(now-its.since)/4, longestPause))
	if connected {
		e.resume()
		delete(p.waiting, e)
	}
}

// ask probes an endpoint; one whose probe panics is probed again.
func (p *prober) ask(ctx context.Context, e *endpoint) (connected bool) {
	defer p.panics.contain()
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
