package docker

import (
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	// eagerInterval is how often a Swarm is read whose tasks are on their way, since
	// the API announces no change of a task: as often as its managers store what
	// nodes report, in batches (maxBatchInterval of SwarmKit's dispatcher).
	eagerInterval = 100 * time.Millisecond
	// eagerness is how long after a change the next one is expected as soon as that;
	// what takes longer, a pull or a health check, is waited for less eagerly.
	eagerness = 10 * time.Second
	// unsettledInterval is how often it is read then.
	unsettledInterval = 250 * time.Millisecond
	// wholeInterval is how often everything is read meanwhile, for events that never came,
	// but wholeRest times as long after a reading as that took at least. The others are of
	// tasks only.
	wholeInterval = time.Second
	wholeRest     = 4 * restFactor
	// patience is how long a Swarm that only waits for something is read so
	// without any change to be seen. A task that cannot run would otherwise
	// cost CPU for as long as it is wanted.
	patience = 30 * time.Second
	// hintGap is the least pause before a reading that an event asks for, so
	// that many events make one reading.
	hintGap = 50 * time.Millisecond
	// eagerRest is how many times as long as a reading took the pause after it is at
	// least while the Swarm is read eagerly: for as long as a service crashes again and
	// again, something changes every few seconds.
	eagerRest = 9
	// restFactor is how many times as long as a reading took the pause after
	// it is at least: a large Swarm is read less often rather than always. Before a
	// reading of tasks only it is as many times as long as such a one takes.
	restFactor = 4
)

// pollInterval is the pause before the next reading if no event asks for one, and if
// readings cost nothing else: after a reading s, where one of the tasks takes so long, the
// last change being so long ago. It is every where nothing is on its way.
func pollInterval(s *snapshot.Snapshot, every, tasks, unchanged time.Duration) time.Duration {
	if !moving(s) && (unchanged >= patience || settled(s)) {
		return every
	}
	interval := min(every, unsettledInterval)
	if unchanged < eagerness {
		interval = min(interval, max(eagerInterval, eagerRest*tasks))
	}
	return interval
}

// moving tells that something is on its way that Swarm will bring to an end,
// however long nothing is seen of it: between two tasks of an update, while an
// image is pulled or until a health check passes.
func moving(s *snapshot.Snapshot) bool {
	if slices.ContainsFunc(s.Services, isUpdating) {
		return true
	}
	for t := range s.AllTasks() {
		if onItsWay(t) && mayMove(s, t) {
			return true
		}
	}
	return false
}

func isUpdating(s *snapshot.Service) bool {
	return s.Update == snapshot.UpdateUpdating || s.Update == snapshot.UpdateRollbackStarted
}

// onItsWay tells that the task's node is about to start or to stop it. One
// that is pending has no node yet, and one that is ready and meant to be no
// more waits for Swarm's word.
func onItsWay(t *snapshot.Task) bool {
	starts := t.State >= snapshot.TaskAssigned && t.State < snapshot.TaskRunning &&
		t.State < t.Desired && t.MeantToRun()
	stops := t.State == snapshot.TaskRunning && !t.MeantToRun()
	return starts || stops
}

// mayMove tells that the task's node can report anything. The tasks of a lost
// node stay as they were for as long as a day.
func mayMove(s *snapshot.Snapshot, t *snapshot.Task) bool {
	node := s.Node(t.NodeID)
	return node != nil && node.Ready
}

// settled tells that every service and every task is where it should be.
func settled(s *snapshot.Snapshot) bool {
	running := make(map[string]uint64, len(s.Services))
	for t := range s.AllTasks() {
		wanted := t.MeantToRun()
		if runs := t.State == snapshot.TaskRunning; runs != wanted {
			return false
		}
		if wanted {
			running[t.ServiceID]++
		}
	}
	for _, service := range s.Services {
		if isUpdating(service) {
			return false
		}
		if replicas := service.Spec.Replicas; replicas != nil && *replicas != running[service.ID] {
			return false
		}
	}
	return true
}
