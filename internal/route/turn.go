package route

import (
	"slices"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// turn is one step of a memory, from one snapshot to the next.
type turn struct {
	*builder
	memory *Memory
	before *builder
	// changed are the wishes that came and went, by whose table they are for.
	changed map[*territory][]*wish
	// moved are the services, by ID, that may have other endpoints.
	moved map[string]bool
	// pools are the upstreams that came, changed or went.
	pools       map[*territory]edits[pool]
	newProblems bool
}

func (m *Memory) turn(b *builder) *turn {
	return &turn{
		builder: b, memory: m, before: m.last, changed: make(map[*territory][]*wish), moved: make(map[string]bool),
		pools: make(map[*territory]edits[pool]),
	}
}

// readLabels reads those of the services that have changed, and of those that
// may be understood otherwise now.
func (t *turn) readLabels() {
	for before, after := range snapshot.Differences(t.before.snap, t.snap) {
		if after != nil {
			t.readOne(after)
		} else {
			t.remove(before.ID)
		}
	}
	networks := !sameList(t.before.snap.Networks, t.snap.Networks)
	secrets := !sameList(t.before.snap.Secrets, t.snap.Secrets)
	if !networks && !secrets {
		return
	}
	for id, s := range t.memory.subjects {
		if networks && s.asked.networks || secrets && s.asked.secrets {
			t.readOne(t.snap.Service(id))
		}
		if networks && s.pool != nil && s.pool.asked.networks {
			t.moved[id] = true
		}
	}
}

func (t *turn) readOne(service *snapshot.Service) {
	s := t.memory.subjects[service.ID]
	if s == nil {
		s = new(subject)
		t.memory.subjects[service.ID] = s
	}
	t.moved[service.ID] = true
	t.asked = lookups{}
	wish := t.wish(service)
	s.asked = t.asked
	t.tell(service.ID, s, &s.read, t.findings)
	t.findings = nil
	if wish != nil && s.wish != nil && alike(s.wish, wish) {
		s.wish.service = service
		return
	}
	t.withdraw(s)
	if wish == nil {
		return
	}
	i := slices.IndexFunc(t.clusters, func(c Cluster) bool { return c.Name == wish.labels.ServiceCluster })
	s.wish, s.territory = wish, t.memory.territories[i]
	s.territory.claim(wish)
	t.changed[s.territory] = append(t.changed[s.territory], wish)
}

// withdraw takes back what a service asked for.
func (t *turn) withdraw(s *subject) {
	if s.wish == nil {
		return
	}
	s.territory.disclaim(s.wish)
	t.changed[s.territory] = append(t.changed[s.territory], s.wish)
	t.use(s, nil)
	t.tell(s.wish.service.ID, s, &s.met, nil)
	s.wish, s.territory, s.used = nil, nil, false
}

func (t *turn) remove(id string) {
	s := t.memory.subjects[id]
	t.withdraw(s)
	t.tell(id, s, &s.read, nil)
	delete(t.memory.subjects, id)
}

// assemble settles who has which host, where somebody has come or gone.
func (t *turn) assemble() {
	for territory, changed := range t.changed {
		wishes, hosts := territory.touched(changed)
		part, used := t.builder.assemble(wishes)
		met := make(map[string][]finding)
		for _, f := range t.findings {
			met[f.service] = append(met[f.service], f)
		}
		t.findings = nil
		for _, w := range wishes {
			id := w.service.ID
			s := t.memory.subjects[id]
			t.tell(id, s, &s.met, met[id])
			t.moved[id] = t.moved[id] || !s.used
			s.used = false
		}
		for _, w := range used {
			t.memory.subjects[w.service.ID].used = true
		}
		for _, w := range wishes {
			if s := t.memory.subjects[w.service.ID]; !s.used {
				t.use(s, nil)
			}
		}
		territory.settle(&part, hosts)
	}
}

// findEndpoints makes the upstreams anew that may be other than before.
func (t *turn) findEndpoints() {
	for before, after := range snapshot.TaskDifferences(t.before.snap, t.snap) {
		if after == nil {
			after = before
		}
		t.moved[after.ServiceID] = true
	}
	t.nodesMoved()
	for id := range t.moved {
		if s := t.memory.subjects[id]; s != nil && s.used {
			t.use(s, t.pool(s))
		}
	}
	for territory, changes := range t.pools {
		territory.serve(changes)
	}
}

// nodesMoved finds the services with tasks on nodes that have changed.
func (t *turn) nodesMoved() {
	if sameList(t.before.snap.Nodes, t.snap.Nodes) {
		return
	}
	moved := func(id string) bool {
		before, after := t.before.nodes[id], t.nodes[id]
		if before == nil || after == nil {
			return before != after
		}
		return before.Ready != after.Ready || before.Addr != after.Addr
	}
	for task := range t.snap.AllTasks() {
		if !t.moved[task.ServiceID] && moved(task.NodeID) {
			t.moved[task.ServiceID] = true
		}
	}
}

// pool makes the upstream of a service.
func (t *turn) pool(s *subject) *pool {
	t.asked = lookups{}
	w := s.wish
	p := &pool{key: w.service.Spec.Name + "\x00" + w.service.ID, upstream: t.upstream(w, s.territory.cluster)}
	p.need, _ = t.need(w, s.territory.cluster)
	p.asked, p.problems = t.asked, problemsOf(t.findings)
	t.findings = nil
	p.digest = digestOf(&p.upstream)
	return p
}

// use puts a pool, nil for none, in the place of the one that a service had.
func (t *turn) use(s *subject, next *pool) {
	before := s.pool
	if before == next {
		return
	}
	id, key := s.wish.service.ID, ""
	var was, is []problem.Problem
	if before != nil {
		s.territory.need(before.need, -1)
		was, key = before.problems, before.key
	}
	if next != nil {
		s.territory.need(next.need, 1)
		is, key = next.problems, next.key
	}
	s.pool = next
	t.noteProblems(id, s, !slices.Equal(was, is))
	if before != nil && next != nil && before.digest == next.digest {
		next.upstream = before.upstream // so that its parts stay the same ones
		return
	}
	if t.pools[s.territory] == nil {
		t.pools[s.territory] = make(edits[pool])
	}
	t.pools[s.territory][key] = next
}

// tell replaces one kind of a service's problems.
func (t *turn) tell(id string, s *subject, have *[]problem.Problem, findings []finding) {
	next := problemsOf(findings)
	changed := !slices.Equal(*have, next)
	*have = next
	t.noteProblems(id, s, changed)
}

func (t *turn) noteProblems(id string, s *subject, changed bool) {
	if !changed {
		return
	}
	t.newProblems = true
	if len(s.problems()) > 0 {
		t.memory.troubled[id] = s
	} else {
		delete(t.memory.troubled, id)
	}
}

func problemsOf(findings []finding) []problem.Problem {
	var list []problem.Problem
	for _, f := range findings {
		list = append(list, f.problem)
	}
	return list
}
