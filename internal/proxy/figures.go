package proxy

import (
	"cmp"
	"slices"
	"time"
)

// Figures are what a server has done since it began, and is doing now. All that
// is named in them is of the table: what clients send adds nothing.
type Figures struct {
	Served Served
	// Swaps are how long the tables took from being given until they were served,
	// Refused how many could not be.
	Swaps        Durations
	SwapsRefused uint64

	// Clients' connections: taken and refused since the beginning, open now.
	Accepted, Refused uint64
	Open              int
	// Dialled is how many connections to endpoints were made, UpstreamOpen how
	// many there are, and UpstreamIdle those of them that wait for a request.
	Dialled                    uint64
	UpstreamOpen, UpstreamIdle int

	// Panics is how many faults of the proxy's own have ended a request, its stream or
	// its connection.
	Panics uint64
	// LogDropped is how many lines of the access log nobody took in time.
	LogDropped uint64

	// Routes are sorted by host and service. Those that nobody has asked for yet
	// are not there.
	Routes []RouteFigures
	// Services are sorted by name.
	Services []ServiceFigures
}

// RouteFigures are of the requests for one host that one service answered.
type RouteFigures struct {
	// Host is as the table has it: it may begin with "*."; "*" stands for all
	// that only the default routes take, and empty for all that nobody takes.
	Host string
	// Service is empty for what the proxy answers by itself.
	Service string
	// Classes are how many were answered with a status of that hundred; 0: with
	// none, as the client had gone.
	Classes [classes]uint64
	// Took is how long they took, from their first byte to the last of their
	// answer; of websockets to the first.
	Took           Durations
	Received, Sent int64 // bytes, from and to clients
	Running        int64 // now
	Retries        uint64
	Ejections      uint64
	// Passed are the TLS connections that were handed on as they were.
	Passed uint64
}

// ServiceFigures are of the endpoints that stand for a service.
type ServiceFigures struct {
	Name string
	// Ready and Aside are how many take requests, and how many are set aside.
	Ready, Aside int
}

// Durations are how long something took, sorted into classes.
type Durations struct {
	Bounds []time.Duration // the greatest of each class, ascending
	Counts []uint64        // of each class, and of those above all bounds
	Sum    time.Duration
}

// Figures returns them as they are now.
func (s *Server) Figures() Figures {
	f := Figures{
		Served: s.Served(), Swaps: s.stats.swaps.durations(), SwapsRefused: s.stats.swaps.failed.Load(),
		Accepted: s.stats.accepted.Load(), Refused: s.stats.refused.Load(), Open: s.clients.count(),
		Dialled: s.stats.dialled.Load(), UpstreamOpen: int(s.stats.upstream.Load()), Panics: s.panics.count.Load(),
	}
	if s.log != nil {
		f.LogDropped = uint64(s.log.dropped.Load())
	}
	s.mu.Lock()
	tallies, upstreams := s.compiler.tallies, upstreamsOf(s.compiler.upstreams)
	s.mu.Unlock()
	f.Routes = append(f.Routes, s.unrouted.figures())
	for _, t := range tallies {
		if t.counted.Load() != nil {
			f.Routes = append(f.Routes, t.figures())
		}
	}
	slices.SortFunc(f.Routes, func(a, b RouteFigures) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Service, b.Service))
	})
	now := s.clock.now()
	for _, u := range upstreams {
		f.Services = append(f.Services, u.figures(now))
		for _, e := range u.endpoints {
			f.UpstreamIdle += e.idles()
		}
	}
	return f
}

// upstreamsOf are sorted by name.
func upstreamsOf(byName map[string]*upstream) []*upstream {
	list := make([]*upstream, 0, len(byName))
	for _, u := range byName {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b *upstream) int { return cmp.Compare(a.spec.Name, b.spec.Name) })
	return list
}

func (u *upstream) figures(now time.Duration) ServiceFigures {
	f := ServiceFigures{Name: u.spec.Name}
	for _, e := range u.endpoints {
		if e.asideFor(now) > 0 {
			f.Aside++
		} else {
			f.Ready++
		}
	}
	return f
}

func (t *tally) figures() RouteFigures {
	c := t.counts()
	f := RouteFigures{
		Host: t.host, Service: t.service, Received: c.received.Load(), Sent: c.sent.Load(), Running: c.running.Load(),
		Retries: c.retries.Load(), Ejections: c.ejections.Load(), Passed: c.passed.Load(),
		Took: Durations{Bounds: durationBounds[:], Counts: make([]uint64, len(durationBounds)+1), Sum: time.Duration(c.took.Load())},
	}
	for class := range c.answered {
		for i := range c.answered[class] {
			n := c.answered[class][i].Load()
			f.Classes[class] += n
			f.Took.Counts[i] += n
		}
	}
	return f
}

func (s *swaps) durations() Durations {
	d := Durations{Bounds: swapBounds[:], Counts: make([]uint64, len(s.took)), Sum: time.Duration(s.sum.Load())}
	for i := range s.took {
		d.Counts[i] = s.took[i].Load()
	}
	return d
}
