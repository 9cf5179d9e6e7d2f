package snapshot_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

func twoServices() snapshot.Lists {
	return NewSwarm(2).Service("one", nil).Task("one", 1, 1).Task("one", 2, 2).Service("two", nil).Task("two", 1, 1).Lists()
}

func TestAReadingSharesWhatDidNotChange(t *testing.T) {
	lists := twoServices()
	before := lists.Snapshot(nil)
	lists.Tasks = slices.Clone(lists.Tasks)
	lists.Tasks[0].Desired = snapshot.TaskShutdown
	after := lists.Snapshot(before)
	if &before.Services[0] != &after.Services[0] || &before.Nodes[0] != &after.Nodes[0] {
		t.Error("services and nodes are copied though none has changed")
	}
	if before.Tasks[1] != after.Tasks[1] || before.TasksOf("svc-one")[1] != after.TasksOf("svc-one")[1] {
		t.Error("tasks are copied that have not changed")
	}
	if was, is := before.TasksOf("svc-one")[0], after.TasksOf("svc-one")[0]; was.Desired != snapshot.TaskRunning || is.Desired != snapshot.TaskShutdown {
		t.Errorf("the task was to be %s and is to be %s", was.Desired, is.Desired)
	}
}

func TestDifferencesAreWhatIsNewGoneOrOther(t *testing.T) {
	before := twoServices()
	first := before.Snapshot(nil)
	after := before
	after.Services = slices.Clone(before.Services)
	after.Services[0].ID = "svc-none" // sorts before both
	after.Services[1].Version++
	second := after.Snapshot(first)
	got := make(map[string]string)
	for was, is := range snapshot.Differences(first, second) {
		switch {
		case was == nil:
			got[is.ID] = "new"
		case is == nil:
			got[was.ID] = "gone"
		default:
			got[is.ID] = "other"
		}
	}
	if diff := cmp.Diff(map[string]string{"svc-none": "new", "svc-one": "gone", "svc-two": "other"}, got); diff != "" {
		t.Error(diff)
	}
	for was, is := range snapshot.TaskDifferences(first, second) {
		t.Errorf("tasks differ: %v, %v", was, is)
	}
	count := 0
	for range snapshot.TaskDifferences(nil, second) {
		count++
	}
	if count != 2 {
		t.Errorf("of nothing it differs in the tasks of %d services, want 2", count)
	}
}
