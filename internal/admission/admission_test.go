package admission_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// office is a desk with a Swarm of one service in front of it.
type office struct {
	desk    admission.Desk
	clock   time.Time
	refuses map[int]bool // by the task's slot
	mute    bool         // nobody can ask
}

func newOffice() *office {
	return &office{clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), refuses: map[int]bool{}}
}

// tasks is a Swarm in which the app has tasks in these slots.
func tasks(slots ...int) *Swarm {
	s := NewSwarm(1).Service("app", map[string]string{"com.docker.lb.hosts": "app.local", "com.docker.lb.port": "80"})
	for _, slot := range slots {
		s.Task("app", slot, 1, HostPort(80, port(slot)))
	}
	return s
}

func port(slot int) uint16 { return uint16(30000 + slot) }

// look lets the desk see a Swarm and returns what became of it.
func (o *office) look(s *Swarm) admission.Verdict { return o.see(s.Snapshot()) }

func (o *office) see(snap *snapshot.Snapshot) admission.Verdict {
	clusters := []route.Cluster{{}}
	reached := route.Reach(snap, clusters, o.desk.Arrivals(snap))
	answer := admission.Answer{Accepts: map[netip.AddrPort]bool{}, Asked: !o.mute}
	for _, r := range reached {
		answer.Accepts[r.Addr] = !o.mute && !o.refuses[r.Task.Slot]
	}
	return o.desk.Judge(reached, map[string]admission.Answer{"": answer}, o.clock)
}

func (o *office) pass(d time.Duration) { o.clock = o.clock.Add(d) }

// used are the slots of the tasks that get requests.
func used(snap *snapshot.Snapshot) string {
	tables, _, _ := route.Build(snap, []route.Cluster{{}})
	var slots []string
	for _, u := range tables[0].Upstreams {
		for _, e := range u.Endpoints {
			slots = append(slots, fmt.Sprint(e.Addr.Port()-port(0)))
		}
	}
	return strings.Join(slots, " ")
}

func expect(t *testing.T, v admission.Verdict, want string) {
	t.Helper()
	if got := used(v.Snapshot); got != want {
		t.Errorf("tasks %q are used, want %q", got, want)
	}
}

func TestWhatRunsAtTheFirstLookIsUsed(t *testing.T) {
	o := newOffice()
	o.refuses[1] = true
	expect(t, o.look(tasks(1, 2)), "1 2")
}

func TestATaskThatBeginsToRunIsUsedOnceItAccepts(t *testing.T) {
	o := newOffice()
	o.look(tasks(1))
	o.refuses[2] = true
	expect(t, o.look(tasks(1, 2)), "1")
	o.pass(3 * time.Second)
	expect(t, o.look(tasks(1, 2)), "1")
	delete(o.refuses, 2)
	v := o.look(tasks(1, 2))
	expect(t, v, "1 2")
	if v.Again != 0 || len(v.Problems) != 0 {
		t.Errorf("there is something left: %+v", v)
	}
}

func TestATaskThatWasAdmittedIsNotAskedAgain(t *testing.T) {
	o := newOffice()
	o.look(tasks(1))
	o.look(tasks(1, 2))
	o.refuses[2] = true
	expect(t, o.look(tasks(1, 2)), "1 2")
}

func TestATaskThatNeverAcceptsIsUsedAfterTheLimitAndNamed(t *testing.T) {
	o := newOffice()
	o.look(tasks(1))
	o.refuses[2] = true
	v := o.look(tasks(1, 2))
	if v.Again != admission.Limit {
		t.Errorf("it is judged again after %s, want %s", v.Again, admission.Limit)
	}
	o.pass(admission.Limit - time.Millisecond)
	expect(t, o.look(tasks(1, 2)), "1")
	o.pass(time.Millisecond)
	v = o.look(tasks(1, 2))
	expect(t, v, "1 2")
	if len(v.Problems) != 1 || v.Problems[0].Kind != problem.NotAccepting || v.Problems[0].Service != "app" || !strings.Contains(v.Problems[0].Message, "10.0.0.1:30002") {
		t.Errorf("problems: %v", v.Problems)
	}
	delete(o.refuses, 2)
	if v = o.look(tasks(1, 2)); len(v.Problems) != 0 {
		t.Errorf("it accepts now, and yet there are: %v", v.Problems)
	}
}

func TestWhileNobodyCanAskTasksWaitAMomentOnly(t *testing.T) {
	o := newOffice()
	o.look(tasks(1))
	o.mute = true
	v := o.look(tasks(1, 2))
	expect(t, v, "1")
	if v.Again != admission.UnaskedLimit {
		t.Errorf("it is judged again after %s, want %s", v.Again, admission.UnaskedLimit)
	}
	o.pass(admission.UnaskedLimit)
	v = o.look(tasks(1, 2))
	expect(t, v, "1 2")
	if len(v.Problems) != 0 {
		t.Errorf("problems: %v", v.Problems)
	}
}

func TestTheWaitForSomebodyToAskBeginsAnewEachTime(t *testing.T) {
	o := newOffice()
	o.look(tasks(1))
	o.refuses[2] = true
	for range 3 {
		o.mute = true
		expect(t, o.look(tasks(1, 2)), "1")
		o.pass(admission.UnaskedLimit - time.Millisecond)
		expect(t, o.look(tasks(1, 2)), "1")
		o.mute = false
		expect(t, o.look(tasks(1, 2)), "1")
	}
}

func TestATaskThatDiesOrIsToldToStopWhileItWaitsIsForgotten(t *testing.T) {
	for name, end := range map[string]*Swarm{
		"gone":         tasks(1),
		"told to stop": tasks(1).Task("app", 2, 1, HostPort(80, port(2)), States(snapshot.TaskRunning, snapshot.TaskShutdown)),
		"failed":       tasks(1).Task("app", 2, 1, HostPort(80, port(2)), States(snapshot.TaskFailed, snapshot.TaskRunning)),
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice()
			o.look(tasks(1))
			o.refuses[2] = true
			o.look(tasks(1, 2))
			v := o.look(end)
			expect(t, v, "1")
			if v.Again != 0 {
				t.Errorf("something is waited for: %+v", v)
			}
			o.pass(admission.Limit)
			if v := o.look(end); len(v.Problems) != 0 {
				t.Errorf("problems: %v", v.Problems)
			}
		})
	}
}

func TestATaskThatIsNotReachedByItselfIsUsedAtOnce(t *testing.T) {
	labels := map[string]string{"com.docker.lb.hosts": "app.local", "com.docker.lb.port": "80", "com.docker.lb.backend_mode": "vip"}
	swarm := func() *Swarm {
		return NewSwarm(1).Network("apps").Service("app", labels, Joins("apps")).VirtualIP("app", "apps", "10.0.9.9")
	}
	var desk admission.Desk
	desk.Arrivals(swarm().Snapshot())
	snap := swarm().Task("app", 1, 1, On("apps", "10.0.9.2")).Snapshot()
	if reached := route.Reach(snap, []route.Cluster{{Networks: []string{"net-apps"}}}, desk.Arrivals(snap)); len(reached) != 0 {
		t.Errorf("tasks behind a virtual IP are asked: %+v", reached)
	}
	if v := desk.Judge(nil, nil, time.Time{}); v.Snapshot != snap {
		t.Error("it waits")
	}
}

// A node that managers cannot reach may still serve: its tasks are given up once
// others take their place, and not when these have only begun to run.
func TestTasksOnALostNodeServeUntilTheirSuccessorsAccept(t *testing.T) {
	swarm := func() *Swarm {
		return NewSwarm(2).NodeDown(2).Service("app", map[string]string{"com.docker.lb.hosts": "app.local", "com.docker.lb.port": "80"}).
			Task("app", 1, 2, HostPort(80, port(1)))
	}
	o := newOffice()
	o.look(swarm())
	o.refuses[2] = true
	both := swarm().Task("app", 2, 1, HostPort(80, port(2)))
	expect(t, o.look(both), "1")
	delete(o.refuses, 2)
	expect(t, o.look(both), "2")
}

func TestAReadingIsTheSameForAsLongAsWhoWaitsIs(t *testing.T) {
	o := newOffice()
	first := tasks(1).Snapshot()
	if v := o.see(first); v.Snapshot != first {
		t.Error("a reading in which nobody waits was copied")
	}
	o.refuses[2] = true
	second := tasks(1, 2).Snapshot()
	v := o.see(second)
	if again := o.see(second); again.Snapshot != v.Snapshot {
		t.Error("the same reading was copied twice")
	}
	if used(second) != "1 2" {
		t.Error("the source's reading was changed")
	}
}

// Whatever comes and goes: what accepts is used, what ran before is not lost to
// what arrives, and nothing waits longer than the limit.
func TestWhatAcceptsIsUsedWhateverComesAndGoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	o := newOffice()
	since := map[int]time.Time{} // when a slot's task began to run
	first := true
	for step := range 2000 {
		for slot := 1; slot <= 6; slot++ {
			switch _, runs := since[slot]; {
			case random.IntN(8) > 0:
			case runs:
				delete(since, slot)
			default:
				since[slot] = o.clock
				o.refuses[slot] = random.IntN(2) == 0
			}
			if random.IntN(10) == 0 {
				delete(o.refuses, slot)
			}
		}
		s := tasks()
		for slot := 1; slot <= 6; slot++ {
			if _, runs := since[slot]; runs {
				// Each life of a slot is a task of its own.
				s.Task("app", slot, 1, HostPort(80, port(slot)), func(t *snapshot.Task) { t.ID += since[slot].Format("150405.000") })
			}
		}
		got := " " + used(o.look(s).Snapshot) + " "
		for slot, began := range since {
			is := strings.Contains(got, fmt.Sprintf(" %d ", slot))
			must := first || !o.refuses[slot] || o.clock.Sub(began) >= admission.Limit
			if must && !is {
				t.Fatalf("step %d: the task in slot %d is not used", step, slot)
			}
		}
		first = false
		o.pass(time.Duration(random.IntN(3000)+1) * time.Millisecond)
	}
}
