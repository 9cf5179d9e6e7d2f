package docker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// taskAt is a task of one slot; age orders the tasks by their creation.
func taskAt(id string, slot, age int, state, desired snapshot.TaskState) snapshot.Task {
	return snapshot.Task{
		ID: id, ServiceID: "app", Slot: slot, State: state, Desired: desired,
		CreatedAt: time.Unix(0, 0).Add(-time.Duration(age) * time.Hour),
	}
}

func oneService(update snapshot.UpdateState, tasks ...snapshot.Task) *snapshot.Snapshot {
	lists := snapshot.Lists{
		Services: []snapshot.Service{{ID: "app", Update: update, Spec: snapshot.ServiceSpec{Replicas: ptr(uint64(1))}}},
		Tasks:    tasks,
	}
	return lists.Snapshot(nil)
}

func TestASwarmIsReadOftenWhileItIsOnItsWay(t *testing.T) {
	const every = 3 * time.Second
	running := taskAt("now", 1, 1, snapshot.TaskRunning, snapshot.TaskRunning)
	for name, c := range map[string]struct {
		s    *snapshot.Snapshot
		want time.Duration
	}{
		"all is where it should be":    {oneService(snapshot.UpdateCompleted, running), every},
		"a service is updating":        {oneService(snapshot.UpdateUpdating, running), eagerInterval},
		"an update is rolled back":     {oneService(snapshot.UpdateRollbackStarted, running), eagerInterval},
		"an update is paused":          {oneService(snapshot.UpdatePaused, running), every},
		"a task is missing":            {oneService(snapshot.UpdateNone), eagerInterval},
		"a task is pending":            {oneService(snapshot.UpdateNone, taskAt("new", 1, 1, snapshot.TaskPending, snapshot.TaskRunning)), eagerInterval},
		"a task crashed":               {oneService(snapshot.UpdateNone, taskAt("new", 1, 1, snapshot.TaskFailed, snapshot.TaskRunning)), eagerInterval},
		"a task is to stop":            {oneService(snapshot.UpdateNone, running, taskAt("old", 1, 2, snapshot.TaskRunning, snapshot.TaskShutdown)), eagerInterval},
		"an old failure is remembered": {oneService(snapshot.UpdateNone, running, taskAt("old", 1, 2, snapshot.TaskFailed, snapshot.TaskShutdown)), every},
		"there is nothing":             {&snapshot.Snapshot{}, every},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pollInterval(c.s, every, 0, 0); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPatienceEndsOnlyWhereNothingIsOnItsWay(t *testing.T) {
	const every, unchanged = 3 * time.Second, time.Hour
	on := func(ready bool, state, desired snapshot.TaskState) *snapshot.Snapshot {
		task := taskAt("task", 1, 1, state, desired)
		task.NodeID = "node"
		s := oneService(snapshot.UpdateNone, task)
		s.Nodes = []snapshot.Node{{ID: "node", Ready: ready}}
		return s
	}
	running := taskAt("now", 1, 1, snapshot.TaskRunning, snapshot.TaskRunning)
	pending := taskAt("new", 1, 1, snapshot.TaskPending, snapshot.TaskRunning)
	for name, c := range map[string]struct {
		s    *snapshot.Snapshot
		want time.Duration
	}{
		"an update waits between two tasks":         {oneService(snapshot.UpdateUpdating, running), unsettledInterval},
		"a rollback waits between two tasks":        {oneService(snapshot.UpdateRollbackStarted, running), unsettledInterval},
		"a task is assigned to a node":              {on(true, snapshot.TaskAssigned, snapshot.TaskRunning), unsettledInterval},
		"an image is pulled":                        {on(true, snapshot.TaskPreparing, snapshot.TaskRunning), unsettledInterval},
		"an image is pulled for an update":          {on(true, snapshot.TaskPreparing, snapshot.TaskReady), unsettledInterval},
		"a health check has not passed yet":         {on(true, snapshot.TaskStarting, snapshot.TaskRunning), unsettledInterval},
		"a task ends its requests":                  {on(true, snapshot.TaskRunning, snapshot.TaskShutdown), unsettledInterval},
		"a job starts":                              {on(true, snapshot.TaskStarting, snapshot.TaskComplete), unsettledInterval},
		"a job is at work":                          {on(true, snapshot.TaskRunning, snapshot.TaskComplete), every},
		"a task is held back until a delay is over": {on(true, snapshot.TaskReady, snapshot.TaskReady), every},
		"a task is pending":                         {oneService(snapshot.UpdateNone, pending), every},
		"a task failed":                             {on(true, snapshot.TaskFailed, snapshot.TaskRunning), every},
		"a task is missing":                         {oneService(snapshot.UpdateNone), every},
		"a lost node's task is to stop":             {on(false, snapshot.TaskRunning, snapshot.TaskShutdown), every},
		"a lost node's task was starting":           {on(false, snapshot.TaskStarting, snapshot.TaskRunning), every},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pollInterval(c.s, every, 0, unchanged); got != c.want {
				t.Errorf("read every %s, want %s", got, c.want)
			}
		})
	}
}

func TestEagernessEndsSomeTimeAfterAChange(t *testing.T) {
	updating := oneService(snapshot.UpdateUpdating)
	for name, c := range map[string]struct{ tasks, unchanged, want time.Duration }{
		"right after a change": {0, eagerness - 1, eagerInterval},
		"later":                {0, eagerness, unsettledInterval},
		"a reading takes more than a tenth of that": {20 * time.Millisecond, 0, 180 * time.Millisecond},
		"a reading takes long":                      {40 * time.Millisecond, 0, unsettledInterval},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pollInterval(updating, 3*time.Second, c.tasks, c.unchanged); got != c.want {
				t.Errorf("read again after %s, want %s", got, c.want)
			}
		})
	}
}

// world is what a poller under test reads, and what it made of it.
type world struct {
	hint func()

	mu        sync.Mutex
	now       *snapshot.Snapshot
	err       error
	reads     []time.Duration // since the begin
	wholes    atomic.Int32    // of these, those of more than the tasks
	takes     time.Duration   // a reading of everything
	tasksTake time.Duration   // one of tasks only
	published []*snapshot.Snapshot
	log       strings.Builder
}

// become changes what the next reading finds.
func (w *world) become(now *snapshot.Snapshot, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.err = now, err
}

func (w *world) read(began time.Time) (*snapshot.Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads = append(w.reads, time.Since(began))
	if w.err != nil {
		return nil, w.err
	}
	reading := *w.now
	return &reading, nil
}

func (w *world) publish(s *snapshot.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = append(w.published, s)
}

// made returns when w was read so far, and what of it was published.
func (w *world) made() (reads []time.Duration, published []*snapshot.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.reads), slices.Clone(w.published)
}

// readsIn counts the readings while d passes.
func (w *world) readsIn(d time.Duration) int {
	before, _ := w.made()
	pass(d)
	after, _ := w.made()
	return len(after) - len(before)
}

// Write makes w the log.
func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// watchWorld polls w in its own time until story is told.
func watchWorld(t *testing.T, w *world, story func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		p := poller{
			health: new(health),
			every:  3 * time.Second,
			log:    slog.New(slog.NewTextHandler(w, nil)),
			read: func(context.Context) (*snapshot.Snapshot, error) {
				w.wholes.Add(1)
				time.Sleep(w.takes)
				return w.read(began)
			},
			readTasks: func(context.Context) (*snapshot.Snapshot, error) {
				time.Sleep(w.tasksTake)
				return w.read(began)
			},
			watch: func(ctx context.Context, hint func()) {
				w.hint = hint
				hint()
				<-ctx.Done()
			},
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.run(ctx, w.publish)
		}()
		synctest.Wait()
		story()
		cancel()
		<-ended
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOnlyChangesArePublished(t *testing.T) {
	w := &world{now: &snapshot.Snapshot{}}
	watchWorld(t, w, func() {
		pass(time.Minute)
		if reads, published := w.made(); len(reads) < 20 || len(published) != 1 {
			t.Errorf("%d readings of the same made %d publications", len(reads), len(published))
		}
		w.become(&snapshot.Snapshot{Nodes: []snapshot.Node{{ID: "new"}}}, nil)
		pass(3 * time.Second)
		if _, published := w.made(); len(published) != 2 || len(published[1].Nodes) != 1 {
			t.Errorf("the change was not published: %v", published)
		}
	})
}

func TestAnEventIsReadAtOnceAndManyTogether(t *testing.T) {
	w := &world{now: &snapshot.Snapshot{}}
	watchWorld(t, w, func() {
		pass(time.Second)
		before, _ := w.made()
		for range 1000 {
			w.hint()
			pass(100 * time.Microsecond)
		}
		pass(hintGap)
		after, _ := w.made()
		fresh := after[len(before):]
		if len(fresh) < 2 || len(fresh) > 4 {
			t.Errorf("1000 events in a tenth of a second made %d readings", len(fresh))
		}
		if len(fresh) > 0 && fresh[0] != time.Second {
			t.Errorf("the first event at 1s was read at %s", fresh[0])
		}
	})
}

func TestAStuckTaskIsReadSlowlyUntilSomethingChanges(t *testing.T) {
	w := &world{now: oneService(snapshot.UpdateNone)}
	watchWorld(t, w, func() {
		if n := w.readsIn(20 * time.Second); n < 130 {
			t.Errorf("a service on its way was read %d times in 20s", n)
		}
		pass(patience)
		if n := w.readsIn(30 * time.Second); n > 11 {
			t.Errorf("a stuck service was read %d times in 30s", n)
		}
		w.become(oneService(snapshot.UpdateNone, taskAt("new", 1, 1, snapshot.TaskPreparing, snapshot.TaskRunning)), nil)
		pass(3 * time.Second)
		if n := w.readsIn(5 * time.Second); n < 45 {
			t.Errorf("a service that moves again was read %d times in 5s", n)
		}
	})
}

func TestWhileTasksMoveLittleElseIsRead(t *testing.T) {
	w := &world{now: oneService(snapshot.UpdateUpdating)}
	watchWorld(t, w, func() {
		before := w.wholes.Load()
		if n := w.readsIn(5 * time.Second); n < 45 {
			t.Errorf("the tasks were read %d times in 5s", n)
		}
		if n := w.wholes.Load() - before; n < 4 || n > 6 {
			t.Errorf("everything was read %d times in 5s", n)
		}
		pass(eagerInterval / 2)
		before = w.wholes.Load()
		w.hint()
		pass(2 * hintGap)
		if n := w.wholes.Load() - before; n != 1 {
			t.Errorf("for an event everything was read %d times", n)
		}
		w.become(nil, errors.New("no engine"))
		pass(eagerInterval)
		w.become(oneService(snapshot.UpdateUpdating), nil)
		before = w.wholes.Load()
		pass(2 * retryFirst)
		if w.wholes.Load() == before {
			t.Error("after a failure only tasks were read")
		}
	})
}

func TestALargeSwarmIsReadLessOften(t *testing.T) {
	for name, c := range map[string]struct{ takes, tasksTake time.Duration }{
		"tasks are most of it":   {time.Second, 900 * time.Millisecond},
		"tasks are little of it": {time.Second, 200 * time.Millisecond},
		"it takes seconds":       {5 * time.Second, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{now: oneService(snapshot.UpdateUpdating), takes: c.takes, tasksTake: c.tasksTake}
			watchWorld(t, w, func() {
				const watched = 10 * time.Minute
				pass(time.Minute)
				wholes := w.wholes.Load()
				readings := w.readsIn(watched)
				wholes = w.wholes.Load() - wholes
				tasks := readings - int(wholes)
				if wholes == 0 || tasks == 0 {
					t.Fatalf("%d readings of everything, %d of tasks only", wholes, tasks)
				}
				busy := time.Duration(wholes)*c.takes + time.Duration(tasks)*c.tasksTake
				if share := float64(busy) / float64(watched); share > 1.0/restFactor {
					t.Errorf("%.0f %% of the time it is read: %d times everything, %d times the tasks", 100*share, wholes, tasks)
				}
			})
		})
	}
}

func TestWhatIsAtRestAgainIsReadOnceMore(t *testing.T) {
	w := &world{now: oneService(snapshot.UpdateUpdating)}
	watchWorld(t, w, func() {
		pass(5 * time.Second)
		before := w.wholes.Load()
		w.become(oneService(snapshot.UpdateCompleted, taskAt("now", 1, 1, snapshot.TaskRunning, snapshot.TaskRunning)), nil)
		pass(2 * wholeInterval)
		if n := w.wholes.Load() - before; n < 1 || n > 2 {
			t.Errorf("everything was read %d times as it came to rest", n)
		}
		if n := w.readsIn(30 * time.Second); n > 11 {
			t.Errorf("a Swarm at rest was read %d times in 30s", n)
		}
	})
}

func TestASlowUpdateIsReadOftenToItsEnd(t *testing.T) {
	running := taskAt("now", 1, 1, snapshot.TaskRunning, snapshot.TaskRunning)
	w := &world{now: oneService(snapshot.UpdateUpdating, running)}
	watchWorld(t, w, func() {
		pass(10 * patience)
		if n := w.readsIn(30 * time.Second); n < 110 {
			t.Errorf("a service that is updating was read %d times in 30s", n)
		}
	})
}

func TestFailedReadingsPublishNothingAndAreLoggedOnce(t *testing.T) {
	w := &world{now: &snapshot.Snapshot{}}
	watchWorld(t, w, func() {
		pass(time.Second)
		w.become(nil, errors.New("no quorum"))
		failures := w.readsIn(time.Minute)
		w.become(nil, errors.New("no engine"))
		failures += w.readsIn(time.Minute)
		w.become(&snapshot.Snapshot{}, nil)
		pass(2 * retryMost)
		if _, published := w.made(); len(published) != 1 {
			t.Errorf("%d publications", len(published))
		}
		if failures < 8 || failures > 60 {
			t.Errorf("%d readings in two minutes without success", failures)
		}
		for _, words := range []string{"no quorum", "no engine", "can be read again"} {
			if n := strings.Count(w.log.String(), words); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", words, n, w.log.String())
			}
		}
	})
}
