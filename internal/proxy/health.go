package proxy

import (
	"errors"
	"math"
	"syscall"
)

// An endpoint that answers badly is set aside for a time, after which one request
// finds out. One that takes no connection is set aside until a probe has made
// one, so that no request has to find out; and so is one that has just joined
// others: its app may not listen yet, or not be reached.

// untilProbed stands in asideUntil for the second.
const untilProbed = math.MaxInt64

var errNoConnection = errors.New("the endpoint took no connection")

// unreachable reports whether a failure says that nobody is there, or takes
// connections.
func unreachable(err error) bool { return errors.Is(err, errNoConnection) || vanished(err) }

// vanished reports whether the kernel gave a connection up because the other
// machine said nothing any more.
func vanished(err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// note takes a failure of an endpoint down, and reports whether it is set aside
// for it.
func (s *Server) note(e *endpoint, err error) bool {
	if !unreachable(err) {
		return e.failed(s.clock.now())
	}
	if !e.suspend() {
		return false
	}
	e.closeIdle()
	s.prober.again(e)
	return true
}

// suspend sets an endpoint aside until it is probed; false: it was already, or
// never is.
func (e *endpoint) suspend() bool {
	return e.maxFails > 0 && e.asideUntil.Swap(untilProbed) != untilProbed
}

// doubt sets an endpoint that has just come aside until it is probed, even one that
// never is for its failures.
func (e *endpoint) doubt() { e.asideUntil.Store(untilProbed) }

// suspended reports whether it waits for a probe.
func (e *endpoint) suspended() bool { return e.asideUntil.Load() == untilProbed }

// resume ends that.
func (e *endpoint) resume() { e.asideUntil.CompareAndSwap(untilProbed, 0) }

// answered ends the time that the endpoint was set aside for. That it takes
// connections only a new one shows.
func (e *endpoint) answered(over *upstreamConn) {
	if until := e.asideUntil.Load(); until != 0 && (!over.reused || until != untilProbed) {
		e.asideUntil.CompareAndSwap(until, 0)
	}
}

// isDrained reports whether no table has it any more.
func (e *endpoint) isDrained() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.drained
}
