package proxy

import (
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// counters are of the server's whole life, but for those that are of now.
type counters struct {
	exchanges atomic.Int64 // being served now; each holds buffers
	accepted  atomic.Uint64
	refused   atomic.Uint64 // connections that were too many
	dialled   atomic.Uint64 // connections to endpoints
	upstream  atomic.Int64  // those that are open
	swaps     swaps
}

// Busy is how many requests are being served now. At rest it is 0, and no
// buffer is held.
func (s *Server) Busy() int64 { return s.stats.exchanges.Load() }

// swaps are how long tables took from being given until they were served.
type swaps struct {
	took   [len(swapBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
	failed atomic.Uint64
}

// swapBounds are the upper bounds of what the durations of swaps are sorted into.
var swapBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

func (s *swaps) add(took time.Duration) {
	i := 0
	for i < len(swapBounds) && took > swapBounds[i] {
		i++
	}
	s.took[i].Add(1)
	s.sum.Add(int64(took))
}

// served is the table that is served, for those who ask about it.
type served struct {
	table      *route.Table // nil: none yet
	since      time.Time    // when one that says the same began to be served
	generation uint64       // how many there were
	// version is empty until somebody asks: to hash a large table takes longer
	// than to change an endpoint.
	version string
}

func (s *served) next(t *route.Table, changed bool) {
	since := s.since
	if changed {
		since = time.Now()
	}
	*s = served{table: t, since: since, generation: s.generation + 1}
}

// Served is the table that is being served.
type Served struct {
	Version    string    // empty: none is yet
	Generation uint64    // how many this server has been given until now
	Since      time.Time // when it began
}

// Served returns what is being served.
func (s *Server) Served() Served {
	s.mu.Lock()
	now := s.served
	s.mu.Unlock()
	if now.version == "" && now.table != nil {
		now.version = now.table.Version()
		s.mu.Lock()
		if s.served.table == now.table {
			s.served.version = now.version
		}
		s.mu.Unlock()
	}
	return Served{Version: now.version, Generation: now.generation, Since: now.since}
}

// leave remembers endpoints that are drained as long as they work.
func (s *Server) leave(gone []*endpoint) {
	for _, e := range gone {
		if e.running.Load() > 0 {
			s.leaving = append(s.leaving, e)
		}
	}
}

// forget drops those that have finished.
func (s *Server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.leaving[:0]
	for _, e := range s.leaving {
		if e.running.Load() > 0 {
			kept = append(kept, e)
		}
	}
	clear(s.leaving[len(kept):])
	s.leaving = kept
}
