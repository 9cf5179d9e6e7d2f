package plan

import (
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Marks remembers which services of the newest snapshot bear a label that only
// those that Interlock keeps should have, so that a snapshot costs a look at what
// it changed. It is not safe for concurrent use.
type Marks struct {
	snap   *snapshot.Snapshot
	marked []*snapshot.Service // sorted by ID
}

// of returns the marked services, sorted by ID. The list is not changed later.
func (m *Marks) of(snap *snapshot.Snapshot) []*snapshot.Service {
	if m.snap == snap {
		return m.marked
	}
	list := m.marked
	for before, after := range snapshot.Differences(m.snap, snap) {
		if before != nil && isMarked(before) {
			list = slices.DeleteFunc(slices.Clone(list), func(s *snapshot.Service) bool { return s == before })
		}
		if after != nil && isMarked(after) {
			list = append(slices.Clip(list), after)
		}
	}
	slices.SortFunc(list, func(a, b *snapshot.Service) int { return strings.Compare(a.ID, b.ID) })
	m.snap, m.marked = snap, list
	return list
}

func isMarked(s *snapshot.Service) bool {
	return s.Spec.Labels[LabelExtension] != "" || s.Spec.Labels[LabelRole] != ""
}
