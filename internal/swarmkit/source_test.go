package swarmkit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/fixture/controlsocket"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	running  = swarmpb.Task_RUNNING
	shutdown = swarmpb.Task_SHUTDOWN
	starting = swarmpb.Task_STARTING
)

func TestEveryChangeOfATaskIsPublished(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.PutTask("a", "app", 1, running, running)
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor("a:running>running")
	m.PutTask("b", "app", 2, starting, running)
	f.waitFor("a:running>running", "b:starting>running")
	m.PutTask("b", "app", 2, running, running)
	f.waitFor("a:running>running", "b:running>running")
	m.PutTask("a", "app", 1, running, shutdown)
	f.waitFor("a:running>shutdown", "b:running>running")
	m.PutTask("a", "app", 1, shutdown, shutdown)
	f.waitFor("b:running>running")
	m.RemoveTask("b")
	f.waitFor()
}

func TestAPublishedSnapshotNeverChanges(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.PutTask("a", "app", 1, starting, running)
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor("a:starting>running")
	first := f.latest()
	m.PutTask("a", "app", 1, running, running)
	f.waitFor("a:running>running")
	if got := first.TasksOf("app")[0].State.String(); got != "starting" {
		t.Errorf("the first one says %s now", got)
	}
}

func TestAStreamThatBreaksIsTakenUpWhereItEnded(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.PutTask("a", "app", 1, starting, running)
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor("a:starting>running")
	m.PutTask("a", "app", 1, running, running)
	f.waitFor("a:running>running")
	time.Sleep(shortSession) // a shorter one is not taken up at once
	stop := m.Stopper()
	m.Serve(t, swarm)
	stop()
	m.PutTask("b", "app", 2, running, running)
	m.RemoveTask("a")
	f.waitFor("b:running>running")
	if resumed := m.Resumed(); len(resumed) != 2 || resumed[1] == 0 {
		t.Errorf("the streams began at %v", resumed)
	}
}

func TestRunEndsWhenTheSocketGoes(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor()
	m.Stopper()()
	if err := f.end(); err == nil {
		t.Error("without an error")
	}
}

func TestManagersThatFallSilentEndRun(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor()
	hung := make(chan struct{})
	defer close(hung)
	m.HangUntil(hung)
	if err := f.end(); err == nil || !strings.Contains(err.Error(), "have not answered for") {
		t.Errorf("it ended with %v", err)
	}
}

func TestAStreamThatIsSilentlyDeadEndsRun(t *testing.T) {
	for name, change := range map[string]func(*controlsocket.Server){
		"something new":    func(m *controlsocket.Server) { m.PutTask("b", "app", 2, running, running) },
		"a change":         func(m *controlsocket.Server) { m.PutTask("a", "app", 1, running, shutdown) },
		"a task that goes": func(m *controlsocket.Server) { m.RemoveTask("a") },
	} {
		t.Run(name, func(t *testing.T) {
			m, swarm := controlsocket.New(), fixture.NewAuthority(t)
			m.PutTask("a", "app", 1, running, running)
			m.PutTask("z", "app", 9, running, running)
			m.Serve(t, swarm)
			f := follow(t, m, rootOf(swarm))
			f.waitFor("a:running>running", "z:running>running")
			m.Mute()
			change(m)
			if err := f.end(); err == nil || !strings.Contains(err.Error(), "silently dead") {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestAQuietSwarmIsNotTakenForADeadStream(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.PutTask("a", "app", 1, running, running)
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor("a:running>running")
	eventually(t, func() bool { return m.Calls("ListTasks") > 5 }, func() any { return m.Calls("ListTasks") })
	select {
	case err := <-f.ended:
		t.Errorf("it ended with %v", err)
	default:
	}
}

func TestAListThatIsTooLargeIsReadInParts(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	for i, id := range []string{"0a", "1b", "zz"} {
		m.PutTask(id, "app", i+1, running, running)
	}
	m.OnlyParts = true
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm))
	f.waitFor("0a:running>running", "1b:running>running", "zz:running>running")
	inParts := m.Calls("ListTasks")
	eventually(t, func() bool { return m.Calls("ListTasks") >= 2*inParts }, func() any { return m.Calls("ListTasks") })
	if n := m.Refused(); n != 1 {
		t.Errorf("the whole was asked for %d times, want once", n)
	}
}

func TestAListThatHasShrunkIsReadWholeAgain(t *testing.T) {
	var s sizes
	for _, test := range []struct {
		objects int
		want    bool
	}{{0, false}, {100, true}, {300, true}, {51, true}, {50, false}} {
		if s.split("Tasks", test.objects); s.splits("Tasks") != test.want {
			t.Errorf("with %d objects it is split: %t, want %t", test.objects, !test.want, test.want)
		}
	}
	if s.split("Tasks", 100); s.splits("Services") {
		t.Error("another list is split too")
	}
}

func config(name string, labels map[string]string) *swarmpb.Object {
	return &swarmpb.Object{Object: &swarmpb.Object_Config{Config: &swarmpb.Config{
		Id: "id-" + name, Spec: &swarmpb.Config_Spec{Annotations: &swarmpb.Annotations{Name: name, Labels: labels}},
	}}}
}

func TestOfTheConfigsOfOthersThoseThatAreNamedAreRead(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.Has(config("another", nil), config("ours", map[string]string{plan.LabelRole: "x"}), config("template", nil))
	m.Serve(t, swarm)
	f := follow(t, m, rootOf(swarm), "later", "template", "ours")
	has := func(want ...string) {
		t.Helper()
		eventually(t, func() bool {
			var got []string
			if s := f.latest(); s != nil {
				for _, c := range s.Configs {
					got = append(got, c.Name)
				}
			}
			return slices.Equal(got, want)
		}, func() any { return f.latest() })
	}
	has("ours", "template")
	m.Put(config("unwanted", nil))
	m.Put(config("later", nil))
	has("later", "ours", "template")
	eventually(t, func() bool { return m.Calls("ListTasks") > 5 }, func() any { return m.Calls("ListTasks") })
	select {
	case err := <-f.ended:
		t.Errorf("the stream is given up for %v", err)
	default:
	}
}

func TestTheServerMustBeTheSwarms(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.Serve(t, fixture.NewAuthority(t))
	if err := follow(t, m, rootOf(swarm)).end(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("it ended with %v", err)
	}
	if n := m.Calls("Watch"); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestAManagerNeedNotNegotiateHTTP2(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.PutTask("a", "app", 1, running, running)
	m.NoProtocol = true // as Engine 20.10 is once its certificate has been renewed
	m.Serve(t, swarm)
	follow(t, m, rootOf(swarm)).waitFor("a:running>running")
}

func TestWithoutARootNothingIsAsked(t *testing.T) {
	m, swarm := controlsocket.New(), fixture.NewAuthority(t)
	m.Serve(t, swarm)
	noRoot := func(context.Context) ([]byte, error) { return nil, errors.New("the API is down") }
	if err := follow(t, m, noRoot).end(); err == nil || !strings.Contains(err.Error(), "the API is down") {
		t.Errorf("it ended with %v", err)
	}
}
