package docker

import (
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	// unsettledInterval is how often a Swarm is read whose tasks are on their
	// way, since the API announces no change of a task.
	unsettledInterval = 250 * time.Millisecond
	// patience is how long it is read so without any change to be seen. A task
	// that cannot run would otherwise cost CPU for as long as it is wanted.
	patience = 30 * time.Second
	// hintGap is the least pause before a reading that an event asks for, so
	// that many events make one reading.
	hintGap = 50 * time.Millisecond
	// restFactor is how many times as long as a reading took the pause after
	// it is at least: a large Swarm is read less often rather than always.
	restFactor = 4
)

// pollInterval is the pause before the next reading if no event asks for one:
// after a reading s that took so long, the last change being so long ago.
func pollInterval(s *snapshot.Snapshot, every, took, unchanged time.Duration) time.Duration {
	interval := every
	if unchanged < patience && !settled(s) {
		interval = min(every, unsettledInterval)
	}
	return max(interval, restFactor*took)
}

// settled tells that every service and every task is where it should be.
func settled(s *snapshot.Snapshot) bool {
	running := make(map[string]uint64, len(s.Services))
	for i := range s.Tasks {
		t := &s.Tasks[i]
		wanted := t.Desired <= snapshot.TaskRunning
		if runs := t.State == snapshot.TaskRunning; runs != wanted {
			return false
		}
		if wanted {
			running[t.ServiceID]++
		}
	}
	for i := range s.Services {
		service := &s.Services[i]
		if service.Update == snapshot.UpdateUpdating || service.Update == snapshot.UpdateRollbackStarted {
			return false
		}
		if replicas := service.Spec.Replicas; replicas != nil && *replicas != running[service.ID] {
			return false
		}
	}
	return true
}
