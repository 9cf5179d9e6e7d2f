package core

import (
	"log/slog"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/problem"
)

// grace is how long a problem must last before it is told: while services are
// replaced, ports are in use and proxies do not answer for a moment.
const grace = 2 * time.Second

// graceOf is none where the problem is that something has lasted already.
func graceOf(kind problem.Kind) time.Duration {
	if kind == problem.Stale {
		return 0
	}
	return grace
}

// journal says each problem that lasts once, and once when it is solved. It is
// safe for concurrent use.
type journal struct {
	log *slog.Logger

	mu   sync.Mutex
	open []entry // sorted as problems are
}

type entry struct {
	problem problem.Problem
	since   time.Time
	told    bool
}

// record takes all problems that there are now, sorted, and returns after how
// long one of them will have lasted long enough; 0 if none is left to tell.
func (j *journal) record(problems []problem.Problem, now time.Time) (again time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := make(map[problem.Problem]entry, len(j.open))
	for _, e := range j.open {
		before[e.problem] = e
	}
	open := make([]entry, len(problems))
	for i, p := range problems {
		e, known := before[p]
		if !known {
			e = entry{problem: p, since: now}
		}
		delete(before, p)
		open[i] = e
		left := graceOf(p.Kind) - now.Sub(open[i].since)
		switch {
		case open[i].told:
		case left <= 0:
			open[i].told = true
			j.log.Warn("problem", attributes(p)...)
		case again == 0 || left < again:
			again = left
		}
	}
	for _, e := range j.open {
		if _, solved := before[e.problem]; solved && e.told {
			j.log.Info("problem solved", attributes(e.problem)...)
		}
	}
	j.open = open
	return again
}

// current returns the problems that have been told and not been solved.
func (j *journal) current() []problem.Problem {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []problem.Problem
	for _, e := range j.open {
		if e.told {
			list = append(list, e.problem)
		}
	}
	return list
}

func attributes(p problem.Problem) []any {
	list := []any{"kind", string(p.Kind)}
	for _, pair := range [][2]string{{"service", p.Service}, {"label", p.Label}, {"value", p.Value}} {
		if pair[1] != "" {
			list = append(list, pair[0], pair[1])
		}
	}
	return append(list, "message", p.Message)
}
