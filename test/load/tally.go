package load

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// mostLosses bounds what is kept of the requests that were lost. All are counted.
const mostLosses = 10_000

// Result is what came of a load.
type Result struct {
	Sent, Lost map[Kind]int
	// Misrouted counts answers of a service that does not own the host and path.
	Misrouted int
	// Losses and Misroutings are in the order of time, 10,000 at most of each.
	Losses, Misroutings []Loss
	// Tasks counts the answers of each task, by its instance.
	Tasks map[string]int
	// P99 is of the requests that were answered: 99 of 100 took so long at most.
	P99 time.Duration
}

// Loss is a request that was not answered by its owner.
type Loss struct {
	Kind   Kind
	Proxy  string
	Route  Route
	Began  time.Time
	Took   time.Duration
	Reason string
	// Broke says that the connection ended before anything of an answer came.
	Broke bool
}

func (l Loss) String() string {
	return fmt.Sprintf("%s %s %s%s by %s, after %s: %s", l.Began.Format("15:04:05.000"),
		l.Kind, l.Route.Host, l.Route.Path, l.Proxy, l.Took.Round(time.Millisecond), l.Reason)
}

// SentInAll is the number of requests of all kinds.
func (r Result) SentInAll() int { return sum(r.Sent) }

// LostInAll is how many of them were lost.
func (r Result) LostInAll() int { return sum(r.Lost) }

func sum(counts map[Kind]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// LostOf counts the lost requests of the kinds that the caller means.
func (r Result) LostOf(means func(Kind) bool) (n int) {
	for kind, c := range r.Lost {
		if means(kind) {
			n += c
		}
	}
	return n
}

// LostSince counts the lost requests that began then or later.
func (r Result) LostSince(at time.Time, means func(Kind) bool) (n int) {
	for _, l := range r.Losses {
		if means(l.Kind) && !l.Began.Before(at) {
			n++
		}
	}
	return n
}

// Add counts another load's requests as well. P99 becomes the greater one.
func (r *Result) Add(other Result) {
	for kind, n := range other.Sent {
		r.Sent[kind] += n
	}
	for kind, n := range other.Lost {
		r.Lost[kind] += n
	}
	for task, n := range other.Tasks {
		r.Tasks[task] += n
	}
	r.Misrouted += other.Misrouted
	r.Losses = append(r.Losses, other.Losses...)
	r.Misroutings = append(r.Misroutings, other.Misroutings...)
	r.P99 = max(r.P99, other.P99)
}

// tally collects what workers report.
type tally struct {
	mu    sync.Mutex
	r     Result
	times []time.Duration
}

func newTally() tally {
	return tally{r: Result{Sent: map[Kind]int{}, Lost: map[Kind]int{}, Tasks: map[string]int{}}}
}

func (t *tally) answered(kind Kind, task string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Sent[kind]++
	t.r.Tasks[task]++
	t.times = append(t.times, took)
}

func (t *tally) lost(l Loss) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Sent[l.Kind]++
	t.r.Lost[l.Kind]++
	if len(t.r.Losses) < mostLosses {
		t.r.Losses = append(t.r.Losses, l)
	}
}

func (t *tally) misrouted(l Loss) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Sent[l.Kind]++
	t.r.Misrouted++
	if len(t.r.Misroutings) < mostLosses {
		t.r.Misroutings = append(t.r.Misroutings, l)
	}
}

func (t *tally) result() Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.r
	r.Sent, r.Lost, r.Tasks = maps.Clone(r.Sent), maps.Clone(r.Lost), maps.Clone(r.Tasks)
	r.Losses, r.Misroutings = slices.Clone(r.Losses), slices.Clone(r.Misroutings)
	byTime := func(a, b Loss) int { return a.Began.Compare(b.Began) }
	slices.SortStableFunc(r.Losses, byTime)
	slices.SortStableFunc(r.Misroutings, byTime)
	if len(t.times) > 0 {
		sorted := slices.Sorted(slices.Values(t.times))
		r.P99 = sorted[int(math.Ceil(0.99*float64(len(sorted))))-1]
	}
	return r
}
