package route

import (
	"reflect"
	"slices"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Memory builds the tables of one snapshot after the other. It remembers of the
// last one what each part of the tables was made of, so that the next costs what
// has changed; what comes of it is what [Build] makes of the snapshot alone. The
// zero Memory remembers nothing. It is not safe for concurrent use.
type Memory struct {
	clusters    []Cluster
	territories []*territory // in the order of clusters
	subjects    map[string]*subject
	troubled    map[string]*subject // those with problems

	last     *builder // of the last snapshot
	problems []problem.Problem
}

// Built is what one cluster gets. It shares with the one before what did not
// change, and must not be changed.
type Built struct {
	Table   *Table
	Version string // the table's
	// Needs are the IDs of the networks that the cluster's proxies must be
	// attached to for its services, sorted.
	Needs []string
}

// subject is what is known of one service.
type subject struct {
	wish      *wish // nil: it is not routed
	territory *territory
	asked     lookups // by reading its labels
	used      bool    // whether a table has its upstream
	pool      *pool   // nil unless it is used

	// read and met are the problems that its labels have by themselves, and
	// with those of others.
	read, met []problem.Problem
}

// pool is a service's upstream.
type pool struct {
	key      string
	upstream Upstream
	digest   digest
	need     string  // ID of a network; empty: none
	asked    lookups // to find its endpoints
	problems []problem.Problem
}

// Build is [Build] with the tables' versions.
func (m *Memory) Build(snap *snapshot.Snapshot, clusters []Cluster) ([]Built, []problem.Problem) {
	if m.last == nil || !reflect.DeepEqual(m.clusters, clusters) {
		m.forget(clusters)
	}
	b := m.look(snap)
	t := m.turn(b)
	t.readLabels()
	t.assemble()
	t.findEndpoints()
	m.last = b
	if t.newProblems {
		m.problems = m.allProblems()
	}
	built := make([]Built, len(m.territories))
	for i, territory := range m.territories {
		built[i] = territory.built()
	}
	return built, slices.Clone(m.problems)
}

func (m *Memory) forget(clusters []Cluster) {
	*m = Memory{clusters: clusters, subjects: make(map[string]*subject), troubled: make(map[string]*subject)}
	m.last = &builder{snap: new(snapshot.Snapshot)}
	for _, c := range clusters {
		m.territories = append(m.territories, newTerritory(c))
	}
}

// look begins to look at a snapshot.
func (m *Memory) look(snap *snapshot.Snapshot) *builder {
	b := &builder{snap: snap, clusters: m.clusters, nodes: m.last.nodes, secrets: m.last.secrets, reserved: m.last.reserved}
	if b.nodes == nil || !sameList(m.last.snap.Nodes, snap.Nodes) {
		b.nodes = make(map[string]*snapshot.Node, len(snap.Nodes))
		for i := range snap.Nodes {
			b.nodes[snap.Nodes[i].ID] = &snap.Nodes[i]
		}
	}
	if b.secrets == nil || !sameList(m.last.snap.Secrets, snap.Secrets) {
		b.secrets = make(map[string]*snapshot.Object, len(snap.Secrets))
		for i := range slices.Backward(snap.Secrets) {
			b.secrets[snap.Secrets[i].Name] = &snap.Secrets[i]
		}
	}
	if b.reserved == nil {
		b.reserved = make(map[string]bool)
		for _, c := range m.clusters {
			for _, name := range c.Reserved {
				b.reserved[name] = true
			}
		}
	}
	return b
}

// sameList reports whether two lists are one.
func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (m *Memory) allProblems() []problem.Problem {
	var list []problem.Problem
	for _, s := range m.troubled {
		list = append(list, s.problems()...)
	}
	return problem.Sort(list)
}

func (s *subject) problems() []problem.Problem {
	if s.pool == nil {
		return slices.Concat(s.read, s.met)
	}
	return slices.Concat(s.read, s.met, s.pool.problems)
}
