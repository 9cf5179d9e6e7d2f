package proxy

import (
	"sync/atomic"
	"time"
)

// tally counts what became of the requests for one host that one service
// answered. It lives as long as tables have the two together.
type tally struct {
	host, service string
	// counted is nil before the first request: of many hosts few are busy.
	counted atomic.Pointer[counts]
}

// counts are of a tally's whole life, but for running. What every request counts
// comes first and together: of many hosts, few are in the processor's cache.
type counts struct {
	running        atomic.Int64 // now
	took           atomic.Int64 // nanoseconds, of all answers
	received, sent atomic.Int64 // bytes, from and to clients
	retries        atomic.Uint64
	ejections      atomic.Uint64
	passed         atomic.Uint64 // TLS connections handed on as they are
	// answered are requests by what they were answered with and how long it took.
	answered [classes][len(durationBounds) + 1]atomic.Uint64
}

// classes are the hundreds of the status codes; those that nothing was answered
// to come first.
const classes = 6

// durationBounds are the upper bounds of what the durations of requests are
// sorted into.
var durationBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second,
}

func (t *tally) counts() *counts {
	if c := t.counted.Load(); c != nil {
		return c
	}
	t.counted.CompareAndSwap(nil, &counts{})
	return t.counted.Load()
}

func (c *counts) add(status int, took time.Duration) {
	class, i := status/100, 0
	if class >= classes {
		class = 0
	}
	for i < len(durationBounds) && took > durationBounds[i] {
		i++
	}
	c.answered[class][i].Add(1)
	c.took.Add(int64(took))
}

func (c *counts) bytes(received, sent int64) {
	c.received.Add(received)
	c.sent.Add(sent)
}

// pairing is what a tally is for.
type pairing struct{ host, service string }

// tallies are those of a table, with what the one before had counted.
type tallies struct{ old, now map[pairing]*tally }

func (t *tallies) of(host, service string) *tally {
	p := pairing{host, service}
	if known := t.now[p]; known != nil {
		return known
	}
	kept := t.old[p]
	if kept == nil {
		kept = &tally{host: host, service: service}
	}
	t.now[p] = kept
	return kept
}

// all are the tallies of a host with each of its services.
func (t *tallies) all(host string, services []string) []*tally {
	list := make([]*tally, 0, len(services))
	for _, service := range services {
		list = append(list, t.of(host, service))
	}
	return list
}

// tallyOf is the one for an endpoint's service; nil: there is none.
func tallyOf(list []*tally, e *endpoint) *tally {
	if len(list) == 1 {
		return list[0]
	}
	for _, t := range list {
		if t.service == e.service {
			return t
		}
	}
	return nil
}

// turnTo counts a request as one that an endpoint works on.
func (x *exchange) turnTo(t *target, e *endpoint) {
	x.turnFrom()
	if of := tallyOf(t.tallies, e); of != nil {
		x.facts.tally = of
	}
	x.facts.running = x.facts.tally.counts()
	x.facts.running.running.Add(1)
	x.facts.endpoint = e
	e.running.Add(1)
}

// turnFrom counts a request as one that its endpoint works on no longer.
func (x *exchange) turnFrom() {
	f := &x.facts
	if f.running == nil {
		return
	}
	f.running.running.Add(-1)
	f.endpoint.running.Add(-1)
	f.running = nil
}

// account counts a request that is over.
func (x *exchange) account() {
	f := &x.facts
	f.took = x.server.clock.now() - f.began
	x.turnFrom()
	c, took := f.tally.counts(), f.took
	if f.status == 101 {
		took = f.answered - f.began // the rest is the clients' conversation
	}
	c.add(f.status, took)
	link := &x.conn.link
	f.got, f.put = link.got-x.conn.accountedGot, link.put-x.conn.accountedPut
	c.bytes(f.got, f.put)
	x.conn.accountedGot, x.conn.accountedPut = link.got, link.put
}
