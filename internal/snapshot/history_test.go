package snapshot_test

import (
	"slices"
	"testing"
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

func TestWhichTasksAreKept(t *testing.T) {
	const (
		pending  = snapshot.TaskPending
		running  = snapshot.TaskRunning
		complete = snapshot.TaskComplete
		shutdown = snapshot.TaskShutdown
		failed   = snapshot.TaskFailed
		rejected = snapshot.TaskRejected
	)
	for name, c := range map[string]struct {
		tasks []snapshot.Task
		kept  []string
	}{
		"a running task, and nothing that ended before it": {
			[]snapshot.Task{
				taskAt("now", 1, 1, running, running),
				taskAt("stopped", 1, 2, shutdown, shutdown),
				taskAt("crashed", 1, 3, failed, shutdown),
			},
			[]string{"now"},
		},
		"a task that is to stop for as long as it runs": {
			[]snapshot.Task{taskAt("new", 1, 1, running, running), taskAt("draining", 1, 2, running, shutdown)},
			[]string{"new", "draining"},
		},
		"the newest failure of a place where nothing runs": {
			[]snapshot.Task{
				taskAt("next", 1, 1, pending, running),
				taskAt("last", 1, 2, rejected, shutdown),
				taskAt("before", 1, 3, failed, shutdown),
			},
			[]string{"next", "last"},
		},
		"a failure that is younger than what still runs there": {
			[]snapshot.Task{taskAt("new", 1, 1, failed, shutdown), taskAt("old", 1, 2, running, running)},
			[]string{"new", "old"},
		},
		"a failure that Swarm has not replaced yet": {
			[]snapshot.Task{taskAt("crashed", 1, 1, failed, running)},
			[]string{"crashed"},
		},
		"failures of each place": {
			[]snapshot.Task{taskAt("one", 1, 1, failed, shutdown), taskAt("two", 2, 2, failed, shutdown)},
			[]string{"one", "two"},
		},
		"no task of a job that is done": {
			[]snapshot.Task{taskAt("done", 1, 1, complete, complete)},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			backwards := slices.Clone(c.tasks)
			slices.Reverse(backwards)
			for _, tasks := range [][]snapshot.Task{c.tasks, backwards} {
				var kept []string
				for _, task := range snapshot.WithoutHistory(tasks) {
					kept = append(kept, task.ID)
				}
				slices.Sort(kept)
				slices.Sort(c.kept)
				if !slices.Equal(kept, c.kept) {
					t.Errorf("kept %v, want %v", kept, c.kept)
				}
			}
		})
	}
}

func TestPlacesOfAServiceOnEveryNodeAreItsNodes(t *testing.T) {
	onNode := func(id, node string, state, desired snapshot.TaskState) snapshot.Task {
		return snapshot.Task{ID: id, ServiceID: "app", NodeID: node, State: state, Desired: desired}
	}
	kept := snapshot.WithoutHistory([]snapshot.Task{
		onNode("a", "node-a", snapshot.TaskRunning, snapshot.TaskRunning),
		onNode("b", "node-b", snapshot.TaskFailed, snapshot.TaskShutdown),
	})
	if len(kept) != 2 {
		t.Errorf("the failure on one node is hidden by a task on another: %+v", kept)
	}
}
