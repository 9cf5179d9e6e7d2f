package snapshot

// WithoutHistory drops the tasks that are over: those that have ended and are
// not meant to run. Of these it keeps, for each place, the newest one that
// failed or was rejected, while no younger task runs there: it says why that
// place is empty. No clock decides, so an unchanged Swarm reads the same
// however often it is read. Each place is judged by its own tasks alone, and no
// source publishes a task that this drops.
func WithoutHistory(tasks []Task) []Task {
	running := make(map[Place]*Task)
	failed := make(map[Place]*Task)
	for i := range tasks {
		t := &tasks[i]
		switch {
		case t.Runs():
			keepYounger(running, t)
		case t.State == TaskFailed || t.State == TaskRejected:
			keepYounger(failed, t)
		}
	}
	var kept []Task
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

func isOver(t *Task) bool {
	return t.State > TaskRunning && t.Desired > TaskRunning
}

func keepYounger(by map[Place]*Task, t *Task) {
	if p := t.Place(); by[p] == nil || younger(t, by[p]) {
		by[p] = t
	}
}

// younger breaks a tie by ID, so that the lists' order decides nothing.
func younger(a, b *Task) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) {
		return a.CreatedAt.After(b.CreatedAt)
	}
	return a.ID > b.ID
}
