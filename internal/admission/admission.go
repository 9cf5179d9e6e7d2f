// Package admission decides when a task that has begun to run may get requests:
// once something at its address accepts connections, as the proxies see it. Swarm
// calls a task RUNNING as soon as its process has started, unless it has a health
// check, and its app may need a while until it listens.
//
// It asks nobody and has no clock. What it is not sure of it lets pass: a task is
// kept waiting for a bounded time, and those that ran before it first looked never.
package admission

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	// Limit is how long a task that accepts no connection is kept waiting.
	Limit = 30 * time.Second
	// UnaskedLimit is how long one is kept waiting while nobody can ask it.
	UnaskedLimit = time.Second
)

// Desk is where tasks wait. Its zero value has seen nothing. It is synchronous
// and not safe for concurrent use.
type Desk struct {
	before  *snapshot.Snapshot // nil: there is none
	waiting map[string]*wait   // by the task's ID
	view    view
}

// wait is a task's.
type wait struct {
	task    *snapshot.Task
	since   time.Time // zero: it has not been judged yet
	unasked time.Time // since when nobody has been able to ask; zero: somebody is
	overdue bool      // it is used although it does not accept
}

// Answer is what is known of the addresses that a cluster's proxies were asked
// about.
type Answer struct {
	Accepts map[netip.AddrPort]bool
	// Asked says that somebody is able to ask.
	Asked bool
}

// Verdict is what became of the tasks that wait.
type Verdict struct {
	// Snapshot is the reading with the tasks that have to wait further as not
	// running yet. It is the very same one if there are none.
	Snapshot *snapshot.Snapshot
	// Problems are sorted.
	Problems []problem.Problem
	// Again is after how long to judge again if nothing changes; 0: not at all.
	Again time.Duration
}

// Arrivals takes note of a reading and returns the tasks to ask about: those that
// run now and did not in the reading before, and those that wait still. Those
// that are in use already come last. With the first reading there are none: what
// runs then may be in use.
func (d *Desk) Arrivals(snap *snapshot.Snapshot) []*snapshot.Task {
	if d.before != nil {
		d.compare(snap)
	}
	d.before = snap
	tasks := make([]*snapshot.Task, 0, len(d.waiting))
	for _, w := range d.waiting {
		tasks = append(tasks, w.task)
	}
	slices.SortFunc(tasks, func(a, b *snapshot.Task) int {
		return cmp.Or(rank(d.waiting[a.ID])-rank(d.waiting[b.ID]), strings.Compare(a.ID, b.ID))
	})
	return tasks
}

func rank(w *wait) int {
	if w.overdue {
		return 1
	}
	return 0
}

// compare looks at what has changed since the reading before.
func (d *Desk) compare(snap *snapshot.Snapshot) {
	for before, after := range snapshot.TaskDifferences(d.before, snap) {
		ran := make(map[string]bool)
		if before != nil {
			for _, t := range before.List {
				ran[t.ID] = t.Runs()
			}
		}
		if after != nil {
			for _, t := range after.List {
				if t.Runs() {
					d.note(t, ran[t.ID])
					delete(ran, t.ID)
				}
			}
		}
		for id := range ran { // those that do not run any more
			delete(d.waiting, id)
		}
	}
}

// note takes note of a task that runs.
func (d *Desk) note(t *snapshot.Task, ran bool) {
	switch w := d.waiting[t.ID]; {
	case w != nil:
		w.task = t
	case ran:
	case d.waiting == nil:
		d.waiting = map[string]*wait{t.ID: {task: t}}
	default:
		d.waiting[t.ID] = &wait{task: t}
	}
}

// Judge decides about the arrivals of the last reading. Those that are not
// reached at an address of their own are let pass at once. Answers are by cluster.
func (d *Desk) Judge(reached []route.Reached, answers map[string]Answer, now time.Time) Verdict {
	v := Verdict{Snapshot: d.before}
	asked := make(map[string]bool, len(reached))
	late := make(map[string][]route.Reached)
	for _, r := range reached {
		w := d.waiting[r.Task.ID]
		if w == nil {
			continue
		}
		answer := answers[r.Cluster]
		if answer.Accepts[r.Addr] {
			continue
		}
		left := w.left(answer.Asked, now)
		if left <= 0 && !answer.Asked && !w.overdue {
			continue
		}
		asked[r.Task.ID] = true
		if w.overdue = left <= 0; w.overdue {
			late[r.Service] = append(late[r.Service], r)
		} else if v.Again == 0 || left < v.Again {
			v.Again = left
		}
	}
	for id := range d.waiting {
		if !asked[id] {
			delete(d.waiting, id)
		}
	}
	for service, list := range late {
		v.Problems = append(v.Problems, silent(service, list))
	}
	v.Problems = problem.Sort(v.Problems)
	v.Snapshot = d.view.of(d.before, d.held())
	return v
}

// left is how long a task has to wait further at most.
func (w *wait) left(asked bool, now time.Time) time.Duration {
	if w.since.IsZero() {
		w.since = now
	}
	left := Limit - now.Sub(w.since)
	if asked {
		w.unasked = time.Time{}
		return left
	}
	if w.unasked.IsZero() {
		w.unasked = now
	}
	return min(left, UnaskedLimit-now.Sub(w.unasked))
}

// held are the tasks that have to wait further, by their service's ID.
func (d *Desk) held() map[string][]*snapshot.Task {
	held := make(map[string][]*snapshot.Task)
	for _, w := range d.waiting {
		if !w.overdue {
			held[w.task.ServiceID] = append(held[w.task.ServiceID], w.task)
		}
	}
	for _, tasks := range held {
		slices.SortFunc(tasks, func(a, b *snapshot.Task) int { return strings.Compare(a.ID, b.ID) })
	}
	return held
}

func silent(service string, late []route.Reached) problem.Problem {
	addresses := make([]string, len(late))
	for i, r := range late {
		addresses[i] = r.Addr.String()
	}
	slices.Sort(addresses)
	more := ""
	if len(addresses) > addressesTold {
		more = fmt.Sprintf(" and %d more", len(addresses)-addressesTold)
		addresses = addresses[:addressesTold]
	}
	return problem.Problem{Kind: problem.NotAccepting, Service: service, Message: fmt.Sprintf(
		"nothing accepts connections at %s%s although the tasks there have run for %s, so they get requests all the same: see that the app listens on all addresses of its container, and that the label port names its port",
		strings.Join(addresses, ", "), more, Limit)}
}

// addressesTold is how many addresses a problem lists.
const addressesTold = 3
