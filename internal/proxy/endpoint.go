package proxy

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

const (
	// maxIdle is how many idle connections an endpoint keeps.
	maxIdle = 512
	// idleUpstream is how long: shorter than the five seconds after which many
	// app servers close an idle connection, as a request that is sent into one
	// that is just being closed may be lost.
	idleUpstream = 4 * time.Second
)

// Without a word of the table an endpoint is set aside as nginx does it.
const (
	defaultMaxFails    = 1
	defaultFailTimeout = 10 * time.Second
)

// endpoint is one place that takes requests, with its idle connections and what
// is known of its health. It lives as long as tables have it in the same way.
type endpoint struct {
	addr netip.AddrPort
	text string // of addr, as logs and headers have it
	hash uint64 // of text
	tls  *route.TLS
	// service is the name of the upstream that the endpoint stands for.
	service string
	// http2 says that it speaks HTTP/2.
	http2 bool

	maxFails    int // 0: it is never set aside
	failTimeout time.Duration

	mu      sync.Mutex
	idle    []*upstreamConn // the one used last is the last
	shared  []*multiplexed  // with HTTP/2: in use or not
	drained bool
	fails   []time.Duration // of the last failTimeout, on the clock

	// asideUntil is when the endpoint, being set aside, may be tried again; 0:
	// it is not set aside; untilProbed: when it takes connections.
	asideUntil atomic.Int64
	// running is how many requests and tunnels it works on.
	running atomic.Int64
}

// upstreamConn is a connection to an endpoint.
type upstreamConn struct {
	link
	endpoint *endpoint
	// host is what a TLS connection was verified for; others are good for any.
	host      string
	idleSince time.Duration
	// reused says that it has served a request before, so that the endpoint may
	// have closed it since.
	reused bool
	// silenceExpected is what expectSilence said last.
	silenceExpected bool
	// stream says that it is for one request only, and another one carries it.
	stream bool

	// What silent and inquire work with; the functions are made once.
	raw           syscall.RawConn
	peek, proceed func(fd uintptr) bool
	peeked        syscall.Errno
	inquiry       inquiry

	// open is where the connection is counted while it is; nil: it is not.
	open atomic.Pointer[atomic.Int64]
}

// Close closes the connection.
func (c *upstreamConn) Close() error {
	if open := c.open.Swap(nil); open != nil {
		open.Add(-1)
	}
	return c.Conn.Close()
}

func newEndpoint(addr netip.AddrPort, u *route.Upstream) *endpoint {
	e := &endpoint{addr: addr, text: addr.String(), tls: u.TLS, http2: u.HTTP2, service: u.Name, maxFails: defaultMaxFails, failTimeout: u.FailTimeout}
	e.hash = hashOf(e.text)
	if u.MaxFails != nil {
		e.maxFails = *u.MaxFails
	}
	if e.failTimeout == 0 {
		e.failTimeout = defaultFailTimeout
	}
	return e
}

// takeIdle returns an idle connection that is good for a host, or nil; and
// whether the endpoint takes requests at all.
func (e *endpoint) takeIdle(host string) (c *upstreamConn, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drained {
		return nil, false
	}
	for i := len(e.idle) - 1; i >= 0; i-- {
		if c = e.idle[i]; c.host == host {
			e.idle = slices.Delete(e.idle, i, i+1)
			return c, true
		}
	}
	return nil, true
}

// putIdle keeps a connection for later requests, or closes it.
func (e *endpoint) putIdle(c *upstreamConn) {
	c.reused, c.idleSince = true, c.clock.about()
	if !e.keep(c) {
		c.Close()
	}
}

// keep reports whether there is room for one more idle connection, and takes it.
func (e *endpoint) keep(c *upstreamConn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drained || len(e.idle) >= maxIdle {
		return false
	}
	e.idle = append(e.idle, c)
	return true
}

// drain keeps new requests away. Those that run finish; idle connections are
// closed at once.
func (e *endpoint) drain() {
	e.mu.Lock()
	e.drained = true
	e.mu.Unlock()
	e.closeIdle()
}

// closeIdle closes the connections that are idle.
func (e *endpoint) closeIdle() { closeAll(e.takeSince(math.MaxInt64)) }

// expire closes the connections that have been idle for too long.
func (e *endpoint) expire(now time.Duration) { closeAll(e.takeSince(now - idleUpstream)) }

// takeSince takes out the connections that have been idle since before a time.
func (e *endpoint) takeSince(before time.Duration) (idle []*upstreamConn, quiet []*multiplexed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := 0
	for old < len(e.idle) && e.idle[old].idleSince < before {
		old++
	}
	idle = slices.Clone(e.idle[:old])
	e.idle = slices.Delete(e.idle, 0, old)
	quiet = e.takeQuiet(func(m *multiplexed) bool { return m.idleSince < before })
	return idle, quiet
}

func closeAll(idle []*upstreamConn, quiet []*multiplexed) {
	for _, c := range idle {
		c.Close()
	}
	for _, m := range quiet {
		_ = m.Close()
	}
}

// ready reports whether the endpoint is not set aside. When its time is over
// one request is let through to see; the others wait for how that goes.
func (e *endpoint) ready(now time.Duration) bool {
	until := e.asideUntil.Load()
	if until == 0 {
		return true
	}
	return int64(now) >= until && e.asideUntil.CompareAndSwap(until, int64(now+e.failTimeout))
}

// asideFor is for how long the endpoint is still set aside; 0: it is not, or may
// be tried.
func (e *endpoint) asideFor(now time.Duration) time.Duration {
	until := time.Duration(e.asideUntil.Load())
	if until == 0 {
		return 0
	}
	return max(until-now, 0)
}

// idles is how many idle connections there are.
func (e *endpoint) idles() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.idle)
	for _, m := range e.shared {
		if m.streams == 0 {
			n++
		}
	}
	return n
}

// failed counts a failure and sets the endpoint aside for too many. It reports
// whether it did.
func (e *endpoint) failed(now time.Duration) bool {
	if e.maxFails == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fails = slices.DeleteFunc(e.fails, func(at time.Duration) bool { return now-at > e.failTimeout })
	e.fails = append(e.fails, now)
	over := len(e.fails) >= e.maxFails
	if over {
		if until := e.asideUntil.Load(); until != untilProbed {
			e.asideUntil.CompareAndSwap(until, int64(now+e.failTimeout))
		}
		e.fails = e.fails[:0]
	}
	return over
}
