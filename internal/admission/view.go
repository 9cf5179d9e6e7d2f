package admission

import (
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// view keeps what was made of readings, so that what did not change is shared
// among them as it is among the readings themselves.
type view struct {
	reading *snapshot.Snapshot
	made    *snapshot.Snapshot
	groups  map[string]group // by the service's ID
}

// group is a service with tasks that are held.
type group struct {
	tasks *snapshot.Tasks // as read
	held  []*snapshot.Task
	made  *snapshot.Tasks
}

// of returns a reading in which the held tasks, sorted by ID, are about to run.
func (v *view) of(reading *snapshot.Snapshot, held map[string][]*snapshot.Task) *snapshot.Snapshot {
	if len(held) == 0 {
		*v = view{}
		return reading
	}
	groups := make(map[string]group, len(held))
	same := v.reading == reading && len(held) == len(v.groups)
	for id, tasks := range held {
		g := v.groups[id]
		if all := tasksOf(reading, id); g.tasks != all || !slices.Equal(g.held, tasks) {
			g, same = group{tasks: all, held: tasks, made: without(all, tasks)}, false
		}
		groups[id] = g
	}
	if same {
		return v.made
	}
	made := *reading
	made.Tasks = slices.Clone(reading.Tasks)
	for i, tasks := range made.Tasks {
		if g, found := groups[tasks.ServiceID]; found {
			made.Tasks[i] = g.made
		}
	}
	*v = view{reading: reading, made: &made, groups: groups}
	return v.made
}

func tasksOf(s *snapshot.Snapshot, service string) *snapshot.Tasks {
	i, found := slices.BinarySearchFunc(s.Tasks, service, func(t *snapshot.Tasks, id string) int { return strings.Compare(t.ServiceID, id) })
	if !found {
		return nil
	}
	return s.Tasks[i]
}

// without returns tasks in which the held ones are about to run.
func without(tasks *snapshot.Tasks, held []*snapshot.Task) *snapshot.Tasks {
	made := &snapshot.Tasks{ServiceID: tasks.ServiceID, List: slices.Clone(tasks.List)}
	for i, t := range made.List {
		if slices.Contains(held, t) {
			waiting := *t
			waiting.State = snapshot.TaskStarting
			made.List[i] = &waiting
		}
	}
	return made
}
