package snapshot

import (
	"iter"
	"strings"
)

// Differences goes over the services that one snapshot has and another one has
// not, or not the same: those before, nil for a new one, with those after, nil
// for one that is gone. It costs a comparison of pointers for all the others.
// Before may be nil.
func Differences(before, after *Snapshot) iter.Seq2[*Service, *Service] {
	var services []*Service
	if before != nil {
		services = before.Services
	}
	return differences(services, after.Services, serviceID)
}

// TaskDifferences is [Differences] for the tasks of services.
func TaskDifferences(before, after *Snapshot) iter.Seq2[*Tasks, *Tasks] {
	var tasks []*Tasks
	if before != nil {
		tasks = before.Tasks
	}
	return differences(tasks, after.Tasks, tasksID)
}

// differences takes lists that are sorted by what id gives.
func differences[T any](before, after []*T, id func(*T) string) iter.Seq2[*T, *T] {
	return func(yield func(*T, *T) bool) {
		for len(before) > 0 || len(after) > 0 {
			var b, a *T
			switch {
			case len(before) == 0:
				a = after[0]
			case len(after) == 0:
				b = before[0]
			case before[0] == after[0]:
				before, after = before[1:], after[1:]
				continue
			default:
				order := strings.Compare(id(before[0]), id(after[0]))
				if order <= 0 {
					b = before[0]
				}
				if order >= 0 {
					a = after[0]
				}
			}
			if b != nil {
				before = before[1:]
			}
			if a != nil {
				after = after[1:]
			}
			if !yield(b, a) {
				return
			}
		}
	}
}
