package docker

import (
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// withoutHistory drops the tasks that are over: those that have ended and are
// not meant to run. Of these it keeps, for each place, the newest one that
// failed or was rejected, while no younger task runs there: it says why that
// place is empty. No clock decides, so an unchanged Swarm reads the same
// however often it is read.
func withoutHistory(tasks []snapshot.Task) []snapshot.Task {
	running := make(map[snapshot.Place]*snapshot.Task)
	failed := make(map[snapshot.Place]*snapshot.Task)
	for i := range tasks {
		t := &tasks[i]
		switch {
		case t.State == snapshot.TaskRunning && t.Desired == snapshot.TaskRunning:
			keepYounger(running, t)
		case t.State == snapshot.TaskFailed || t.State == snapshot.TaskRejected:
			keepYounger(failed, t)
		}
	}
	kept := make([]snapshot.Task, 0, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		p := t.Place()
		explains := failed[p] == t && (running[p] == nil || younger(t, running[p]))
		if !isOver(t) || explains {
			kept = append(kept, *t)
		}
	}
	return kept
}

func isOver(t *snapshot.Task) bool {
	return t.State > snapshot.TaskRunning && t.Desired > snapshot.TaskRunning
}

func keepYounger(by map[snapshot.Place]*snapshot.Task, t *snapshot.Task) {
	if p := t.Place(); by[p] == nil || younger(t, by[p]) {
		by[p] = t
	}
}

// younger breaks a tie by ID, so that the lists' order decides nothing.
func younger(a, b *snapshot.Task) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) {
		return a.CreatedAt.After(b.CreatedAt)
	}
	return a.ID > b.ID
}
