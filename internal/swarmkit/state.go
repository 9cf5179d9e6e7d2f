package swarmkit

import (
	"reflect"
	"slices"

	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// maxGone bounds how many removed objects are remembered.
const maxGone = 1 << 16

// state is the Swarm as it is known: a complete list of everything, and all
// changes since. It belongs to one goroutine.
type state struct {
	services table[snapshot.Service]
	tasks    table[snapshot.Tasks] // without history
	nodes    table[snapshot.Node]
	networks table[snapshot.Network]
	secrets  table[snapshot.Object]
	configs  table[snapshot.Object]
	named    []string // configs that others than Interlock have made

	// versions are those of all objects, also of those that a snapshot leaves
	// out. IDs are unique whatever the kind, and never used again.
	versions map[string]uint64
	// gone are removed objects: a stream that is resumed tells their life again.
	gone map[string]bool
	// places has all tasks, with their history, by where they are meant to run.
	places map[snapshot.Place][]snapshot.Task
	at     map[string]snapshot.Place // of each task, by ID

	// listed is the newest version in the lists. From position on, which is 0
	// until the stream has passed listed, changes can be asked for again.
	listed, position uint64

	changed bool // since the last snapshot
	// faulty are the objects of which parts cannot be understood, and why. What of it
	// was not so before is in faults, until that is told.
	faulty map[string][]string
	faults []fault
}

// fault is a part of an object that cannot be understood.
type fault struct{ kind, id, why string }

func newState(l *lists, named []string) *state {
	s := &state{
		services: table[snapshot.Service]{id: func(v *snapshot.Service) string { return v.ID }},
		tasks:    table[snapshot.Tasks]{id: func(v *snapshot.Tasks) string { return v.ServiceID }},
		nodes:    table[snapshot.Node]{id: func(v *snapshot.Node) string { return v.ID }},
		networks: table[snapshot.Network]{id: func(v *snapshot.Network) string { return v.ID }},
		secrets:  table[snapshot.Object]{id: func(v *snapshot.Object) string { return v.ID }},
		configs:  table[snapshot.Object]{id: func(v *snapshot.Object) string { return v.ID }},
		named:    named,
		versions: make(map[string]uint64),
		gone:     make(map[string]bool),
		places:   make(map[snapshot.Place][]snapshot.Task),
		at:       make(map[string]snapshot.Place),
		faulty:   make(map[string][]string),
		changed:  true,
	}
	s.fill(l)
	return s
}

// fill takes the lists that the state begins with.
func (s *state) fill(l *lists) {
	l.each(func(o object) {
		version := versionOf(o)
		s.versions[o.GetId()] = version
		s.listed = max(s.listed, version)
	})
	s.services.fill(collect(l.services, s.service))
	s.nodes.fill(collect(l.nodes, func(raw *swarmpb.Node) (snapshot.Node, bool) { return nodeFrom(raw), true }))
	s.networks.fill(collect(l.networks, networkFrom))
	s.secrets.fill(collect(l.secrets, secretFrom))
	s.configs.fill(collect(l.configs, s.config))
	for _, t := range collect(l.tasks, s.task) {
		p := t.Place()
		s.places[p] = append(s.places[p], *t)
		s.at[t.ID] = p
	}
	var kept snapshot.Lists
	for _, tasks := range s.places {
		kept.Tasks = append(kept.Tasks, snapshot.WithoutHistory(tasks)...)
	}
	s.tasks.fill(kept.Snapshot(nil).Tasks)
}

func collect[W, T any](raw []W, from func(W) (T, bool)) []*T {
	list := make([]*T, 0, len(raw))
	for _, w := range raw {
		if v, ok := from(w); ok {
			list = append(list, &v)
		}
	}
	return list
}

func (s *state) service(raw *swarmpb.Service) (snapshot.Service, bool) {
	v, faults := serviceFrom(raw)
	v.Sort()
	s.note("service", v.ID, faults)
	return v, true
}

func (s *state) task(raw *swarmpb.Task) (snapshot.Task, bool) {
	v, faults, ok := taskFrom(raw)
	v.Sort()
	s.note("task", v.ID, faults)
	return v, ok
}

func (s *state) config(raw *swarmpb.Config) (snapshot.Object, bool) { return configFrom(raw, s.named) }

// note keeps what is wrong with an object, and has it told where that is new.
func (s *state) note(kind, id string, faults []string) {
	for _, why := range faults {
		if !slices.Contains(s.faulty[id], why) {
			s.faults = append(s.faults, fault{kind, id, why})
		}
	}
	if len(faults) == 0 {
		delete(s.faulty, id)
	} else {
		s.faulty[id] = faults
	}
}

// apply takes one change. One that is older than what is known has no effect.
func (s *state) apply(e *swarmpb.WatchMessage_Event) {
	o := objectOf(e.GetObject())
	if o == nil || s.gone[o.GetId()] {
		return
	}
	id, version := o.GetId(), versionOf(o)
	if version >= s.listed {
		s.position = max(s.position, version)
	}
	if e.GetAction() == swarmpb.Action_ACTION_REMOVE {
		s.forget(id)
		s.drop(o, id)
		return
	}
	if known, has := s.versions[id]; has && version < known {
		return
	}
	s.versions[id] = version
	s.store(o)
}

// newest is the greatest version of any object that is known.
func (s *state) newest() uint64 { return max(s.listed, s.position) }

func (s *state) forget(id string) {
	if len(s.gone) >= maxGone {
		clear(s.gone)
	}
	s.gone[id] = true
	delete(s.versions, id)
	delete(s.faulty, id)
}

func (s *state) store(o object) {
	switch raw := o.(type) {
	case *swarmpb.Service:
		v, _ := s.service(raw)
		putChanged(s, &s.services, v, true)
	case *swarmpb.Task:
		if v, ok := s.task(raw); ok {
			s.storeTask(v)
		} else {
			s.takeTask(raw.GetId())
		}
	case *swarmpb.Node:
		putChanged(s, &s.nodes, nodeFrom(raw), true)
	case *swarmpb.Network:
		v, ok := networkFrom(raw)
		putChanged(s, &s.networks, v, ok)
	case *swarmpb.Secret:
		v, ok := secretFrom(raw)
		putChanged(s, &s.secrets, v, ok)
	case *swarmpb.Config:
		v, ok := s.config(raw)
		putChanged(s, &s.configs, v, ok)
	}
}

// putChanged leaves a table as it is if the object says nothing new, and
// without the object if it is not wanted.
func putChanged[T any](s *state, t *table[T], v T, wanted bool) {
	known := t.get(t.id(&v))
	switch {
	case wanted && (known == nil || !reflect.DeepEqual(*known, v)):
		t.put(&v)
		s.changed = true
	case !wanted && known != nil:
		t.remove(t.id(&v))
		s.changed = true
	}
}

func (s *state) drop(o object, id string) {
	switch o.(type) {
	case *swarmpb.Service:
		removeKnown(s, &s.services, id)
	case *swarmpb.Task:
		s.takeTask(id)
	case *swarmpb.Node:
		removeKnown(s, &s.nodes, id)
	case *swarmpb.Network:
		removeKnown(s, &s.networks, id)
	case *swarmpb.Secret:
		removeKnown(s, &s.secrets, id)
	case *swarmpb.Config:
		removeKnown(s, &s.configs, id)
	}
}

func removeKnown[T any](s *state, t *table[T], id string) {
	if t.get(id) != nil {
		t.remove(id)
		s.changed = true
	}
}

func (s *state) storeTask(t snapshot.Task) {
	p := t.Place()
	if before, has := s.at[t.ID]; has && before != p {
		s.takeTask(t.ID)
	}
	s.at[t.ID] = p
	tasks, replaced := s.places[p], false
	for i := range tasks {
		if tasks[i].ID == t.ID {
			tasks[i], replaced = t, true
		}
	}
	if !replaced {
		tasks = append(tasks, t)
	}
	s.places[p] = tasks
	s.judge(tasks)
}

func (s *state) takeTask(id string) {
	p, has := s.at[id]
	if !has {
		return
	}
	delete(s.at, id)
	s.hide(p.Service(), id)
	var left []snapshot.Task
	for _, t := range s.places[p] {
		if t.ID != id {
			left = append(left, t)
		}
	}
	if left == nil {
		delete(s.places, p)
		return
	}
	s.places[p] = left
	s.judge(left)
}

// judge has the snapshot show of one place's tasks what it is to show.
func (s *state) judge(tasks []snapshot.Task) {
	kept := make(map[string]bool, len(tasks))
	for _, t := range snapshot.WithoutHistory(tasks) {
		kept[t.ID] = true
		s.show(&t)
	}
	for i := range tasks {
		if !kept[tasks[i].ID] {
			s.hide(tasks[i].ServiceID, tasks[i].ID)
		}
	}
}

// show puts a task into what snapshots show of its service, unless it is there
// as it is.
func (s *state) show(t *snapshot.Task) {
	tasks := tasksOf(s.tasks.get(t.ServiceID))
	if known := tasks.get(t.ID); known == nil || !reflect.DeepEqual(known, t) {
		tasks.put(t)
		s.tasks.put(&snapshot.Tasks{ServiceID: t.ServiceID, List: tasks.list})
		s.changed = true
	}
}

// hide takes a task out of it.
func (s *state) hide(service, id string) {
	tasks := tasksOf(s.tasks.get(service))
	if tasks.get(id) == nil {
		return
	}
	tasks.remove(id)
	s.changed = true
	if len(tasks.list) == 0 {
		s.tasks.remove(service)
		return
	}
	s.tasks.put(&snapshot.Tasks{ServiceID: service, List: tasks.list})
}

// tasksOf makes a table of the tasks of one service, of which there may be none.
func tasksOf(shown *snapshot.Tasks) *table[snapshot.Task] {
	t := &table[snapshot.Task]{id: func(v *snapshot.Task) string { return v.ID }, given: true}
	if shown != nil {
		t.list = shown.List
	}
	return t
}

// snapshot gives out the state, which later changes leave as it is.
func (s *state) snapshot() *snapshot.Snapshot {
	s.changed = false
	return &snapshot.Snapshot{
		Services: s.services.share(), Tasks: s.tasks.share(), Nodes: s.nodes.values(),
		Networks: s.networks.values(), Secrets: s.secrets.values(), Configs: s.configs.values(),
	}
}
