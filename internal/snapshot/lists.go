package snapshot

import (
	"reflect"
	"slices"
	"strings"
)

// Lists is a Swarm as somebody lists it: every object by itself, in any order.
type Lists struct {
	Services []Service
	Tasks    []Task
	Nodes    []Node
	Networks []Network
	Secrets  []Object
	Configs  []Object
}

// Snapshot makes a snapshot of the lists, which stay as they are but for the
// order inside of objects. It shares with last, which may be nil, all that did
// not change.
func (l *Lists) Snapshot(last *Snapshot) *Snapshot {
	if last == nil {
		last = new(Snapshot)
	}
	return &Snapshot{
		Services: l.services(last),
		Tasks:    l.tasks(last),
		Nodes:    sameOr(last.Nodes, sortedByID(l.Nodes, func(v *Node) string { return v.ID })),
		Networks: sameOr(last.Networks, sortedByID(l.Networks, func(v *Network) string { return v.ID })),
		Secrets:  sameOr(last.Secrets, sortedByID(l.Secrets, func(v *Object) string { return v.ID })),
		Configs:  sameOr(last.Configs, sortedByID(l.Configs, func(v *Object) string { return v.ID })),
	}
}

// WithTasks is the snapshot with other tasks. All else is shared with s, and of the
// tasks those that are as there.
func (s *Snapshot) WithTasks(tasks []Task) *Snapshot {
	next := *s
	next.Tasks = (&Lists{Tasks: tasks}).tasks(s)
	return &next
}

func (l *Lists) services(last *Snapshot) []*Service {
	list := parts(l.Services)
	for i, s := range list {
		s.Sort()
		if before := last.Service(s.ID); before != nil && reflect.DeepEqual(before, s) {
			list[i] = before
		}
	}
	slices.SortFunc(list, func(a, b *Service) int { return strings.Compare(a.ID, b.ID) })
	return sameParts(last.Services, list)
}

func (l *Lists) tasks(last *Snapshot) []*Tasks {
	byService := make(map[string]*Tasks)
	for _, t := range parts(l.Tasks) {
		t.Sort()
		group := byService[t.ServiceID]
		if group == nil {
			group = &Tasks{ServiceID: t.ServiceID}
			byService[t.ServiceID] = group
		}
		group.List = append(group.List, t)
	}
	var list []*Tasks
	for _, group := range byService {
		list = append(list, group.sharing(part(last.Tasks, group.ServiceID, tasksID)))
	}
	slices.SortFunc(list, func(a, b *Tasks) int { return strings.Compare(a.ServiceID, b.ServiceID) })
	return sameParts(last.Tasks, list)
}

// sharing sorts the tasks and returns last, which may be nil, if they are as
// there; else what is as there is shared.
func (t *Tasks) sharing(last *Tasks) *Tasks {
	slices.SortFunc(t.List, func(a, b *Task) int { return strings.Compare(a.ID, b.ID) })
	if last == nil {
		return t
	}
	for i, task := range t.List {
		before := part(last.List, task.ID, func(v *Task) string { return v.ID })
		if before != nil && reflect.DeepEqual(before, task) {
			t.List[i] = before
		}
	}
	if slices.Equal(t.List, last.List) {
		return last
	}
	return t
}

// parts copies objects to where snapshots can share them.
func parts[T any](list []T) []*T {
	if len(list) == 0 {
		return nil
	}
	copies := make([]*T, len(list))
	for i := range list {
		// Each by itself: one that is kept must not keep the others.
		v := list[i]
		copies[i] = &v
	}
	return copies
}

func sortedByID[T any](list []T, id func(*T) string) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(id(&a), id(&b)) })
	return list
}

// sameParts returns before if it holds the very parts that after does.
func sameParts[T any](before, after []*T) []*T {
	if slices.Equal(before, after) {
		return before
	}
	return after
}

// sameOr returns before if it says what after does.
func sameOr[T any](before, after []T) []T {
	if reflect.DeepEqual(before, after) {
		return before
	}
	return after
}
