package swarmkit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	running  = swarmpb.Task_RUNNING
	shutdown = swarmpb.Task_SHUTDOWN
	starting = swarmpb.Task_STARTING
)

func TestEveryChangeOfATaskIsPublished(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.task("a", "app", 1, running, running)
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor("a:running>running")
	m.task("b", "app", 2, starting, running)
	f.waitFor("a:running>running", "b:starting>running")
	m.task("b", "app", 2, running, running)
	f.waitFor("a:running>running", "b:running>running")
	m.task("a", "app", 1, running, shutdown)
	f.waitFor("a:running>shutdown", "b:running>running")
	m.task("a", "app", 1, shutdown, shutdown)
	f.waitFor("b:running>running")
	m.removeTask("b")
	f.waitFor()
}

func TestAPublishedSnapshotNeverChanges(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.task("a", "app", 1, starting, running)
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor("a:starting>running")
	first := f.latest()
	m.task("a", "app", 1, running, running)
	f.waitFor("a:running>running")
	if got := first.TasksOf("app")[0].State.String(); got != "starting" {
		t.Errorf("the first one says %s now", got)
	}
}

func TestAStreamThatBreaksIsTakenUpWhereItEnded(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.task("a", "app", 1, starting, running)
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor("a:starting>running")
	m.task("a", "app", 1, running, running)
	f.waitFor("a:running>running")
	time.Sleep(shortSession) // a shorter one is not taken up at once
	before := m.server
	m.serve(t, swarm)
	before.Stop()
	m.task("b", "app", 2, running, running)
	m.removeTask("a")
	f.waitFor("b:running>running")
	m.set(func() {
		if len(m.resumed) != 2 || m.resumed[1] == 0 {
			t.Errorf("the streams began at %v", m.resumed)
		}
	})
}

func TestRunEndsWhenTheSocketGoes(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor()
	m.server.Stop()
	if err := f.end(); err == nil {
		t.Error("without an error")
	}
}

func TestManagersThatFallSilentEndRun(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor()
	hung := make(chan struct{})
	defer close(hung)
	m.set(func() { m.hung = hung })
	if err := f.end(); err == nil || !strings.Contains(err.Error(), "have not answered for") {
		t.Errorf("it ended with %v", err)
	}
}

func TestAStreamThatIsSilentlyDeadEndsRun(t *testing.T) {
	for name, change := range map[string]func(*manager){
		"something new":    func(m *manager) { m.task("b", "app", 2, running, running) },
		"a change":         func(m *manager) { m.task("a", "app", 1, running, shutdown) },
		"a task that goes": func(m *manager) { m.removeTask("a") },
	} {
		t.Run(name, func(t *testing.T) {
			m, swarm := newManager(), newAuthority(t)
			m.task("a", "app", 1, running, running)
			m.task("z", "app", 9, running, running)
			m.serve(t, swarm)
			f := follow(t, m, swarm.root)
			f.waitFor("a:running>running", "z:running>running")
			m.set(func() { m.mute = true })
			change(m)
			if err := f.end(); err == nil || !strings.Contains(err.Error(), "silently dead") {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestAQuietSwarmIsNotTakenForADeadStream(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.task("a", "app", 1, running, running)
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor("a:running>running")
	eventually(t, func() bool { return m.calls("ListTasks") > 5 }, func() any { return m.calls("ListTasks") })
	select {
	case err := <-f.ended:
		t.Errorf("it ended with %v", err)
	default:
	}
}

func TestAListThatIsTooLargeIsReadInParts(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	for _, id := range []string{"0a", "1b", "zz"} {
		m.task(id, "app", len(m.lists.tasks)+1, running, running)
	}
	m.small = true
	m.serve(t, swarm)
	f := follow(t, m, swarm.root)
	f.waitFor("0a:running>running", "1b:running>running", "zz:running>running")
}

func TestTheServerMustBeTheSwarms(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.serve(t, newAuthority(t))
	if err := follow(t, m, swarm.root).end(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("it ended with %v", err)
	}
	if n := m.calls("Watch"); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestAManagerNeedNotNegotiateHTTP2(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.task("a", "app", 1, running, running)
	m.old = true // as Engine 20.10 is once its certificate has been renewed
	m.serve(t, swarm)
	follow(t, m, swarm.root).waitFor("a:running>running")
}

func TestWithoutARootNothingIsAsked(t *testing.T) {
	m, swarm := newManager(), newAuthority(t)
	m.serve(t, swarm)
	noRoot := func(context.Context) ([]byte, error) { return nil, errors.New("the API is down") }
	if err := follow(t, m, noRoot).end(); err == nil || !strings.Contains(err.Error(), "the API is down") {
		t.Errorf("it ended with %v", err)
	}
}
