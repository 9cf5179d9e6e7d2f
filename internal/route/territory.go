package route

import (
	"maps"
	"reflect"
	"slices"
)

// territory is one cluster's table, and what it was made of.
type territory struct {
	cluster Cluster
	// claims are the wishes that have a say in each host, or whose redirects lead
	// there; empty: in those that nobody names.
	claims map[string][]*wish

	table   *Table
	version string
	// keys are those of the upstreams; the others hash parts of the table.
	keys         []string
	hosts, pools []digest
	rest         digest
	needs        map[string]int // how many services need a network, by ID
}

func newTerritory(c Cluster) *territory {
	t := &territory{cluster: c, claims: make(map[string][]*wish), table: new(Table), needs: make(map[string]int)}
	t.rest = t.table.rest()
	return t
}

// names are the hosts that a wish has to do with. Wishes that have none in
// common, not even by way of others, do not touch each other.
func (w *wish) names() []string {
	names := slices.Clone(w.labels.Hosts)
	if w.labels.DefaultBackend {
		names = append(names, "")
	}
	for _, r := range w.labels.Redirects {
		names = append(names, r.SourceHost, r.TargetHost)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// alike reports whether two wishes of one service lead to the same, but for the
// endpoints and whatever else does not show in its labels.
func alike(a, b *wish) bool {
	return a.service.Spec.Name == b.service.Spec.Name && a.service.CreatedAt.Equal(b.service.CreatedAt) &&
		maps.Equal(a.service.Spec.Labels, b.service.Spec.Labels) && reflect.DeepEqual(a.labels, b.labels) &&
		a.port == b.port && a.network == b.network && reflect.DeepEqual(a.terms, b.terms)
}

func (t *territory) claim(w *wish) {
	for _, name := range w.names() {
		t.claims[name] = append(t.claims[name], w)
	}
}

func (t *territory) disclaim(w *wish) {
	for _, name := range w.names() {
		left := slices.DeleteFunc(t.claims[name], func(other *wish) bool { return other == w })
		if len(left) == 0 {
			delete(t.claims, name)
			continue
		}
		t.claims[name] = left
	}
}

// touched are all wishes to which it may matter that those given have come or
// gone, oldest first, and all hosts that may be other than before.
func (t *territory) touched(changed []*wish) (wishes []*wish, hosts map[string]bool) {
	hosts = make(map[string]bool)
	seen := make(map[*wish]bool)
	var queue []string
	reach := func(w *wish) {
		for _, name := range w.names() {
			if !hosts[name] {
				hosts[name] = true
				queue = append(queue, name)
			}
		}
	}
	for _, w := range changed {
		reach(w)
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, w := range t.claims[name] {
			if !seen[w] {
				seen[w] = true
				wishes = append(wishes, w)
				reach(w)
			}
		}
	}
	slices.SortFunc(wishes, older)
	return wishes, hosts
}

// settle puts what was assembled of some hosts in the place of what was there.
func (t *territory) settle(part *Table, hosts map[string]bool) {
	next := *t.table
	virtual, through := make(edits[VirtualHost]), make(edits[Passthrough])
	for name := range hosts {
		virtual[name], through[name] = nil, nil
	}
	for i := range part.Hosts {
		virtual[part.Hosts[i].Name] = &part.Hosts[i]
	}
	for i := range part.Passthrough {
		through[part.Passthrough[i].Name] = &part.Passthrough[i]
	}
	if cuts := virtual.cuts(keysOf(t.table.Hosts, func(h *VirtualHost) string { return h.Name })); len(cuts) > 0 {
		next.Hosts = splice(t.table.Hosts, cuts, func(h *VirtualHost) VirtualHost { return *h })
		t.hosts = splice(t.hosts, cuts, func(h *VirtualHost) digest { return digestOf(h) })
	}
	if cuts := through.cuts(keysOf(t.table.Passthrough, func(p *Passthrough) string { return p.Name })); len(cuts) > 0 {
		next.Passthrough = splice(t.table.Passthrough, cuts, func(p *Passthrough) Passthrough { return *p })
	}
	if hosts[""] {
		next.Default = part.Default
	}
	t.table, t.version, t.rest = &next, "", next.rest()
}

// serve puts upstreams in the place of those that there were, by their keys.
func (t *territory) serve(changes edits[pool]) {
	cuts := changes.cuts(t.keys)
	if len(cuts) == 0 {
		return
	}
	next := *t.table
	next.Upstreams = splice(t.table.Upstreams, cuts, func(p *pool) Upstream { return p.upstream })
	t.table, t.version = &next, ""
	if slices.ContainsFunc(cuts, func(c cut[pool]) bool { return !c.replaces() }) {
		t.pools = splice(t.pools, cuts, func(p *pool) digest { return p.digest })
		t.keys = splice(t.keys, cuts, func(p *pool) string { return p.key })
		return
	}
	for _, c := range cuts { // which have their keys; nobody else has the digests
		t.pools[c.at] = c.value.digest
	}
}

func (t *territory) built() Built {
	if t.version == "" {
		t.version = version(t.rest, t.hosts, t.pools)
	}
	return Built{Table: t.table, Version: t.version, Needs: slices.Sorted(maps.Keys(t.needs))}
}

// need counts the services that need a network; none is the empty ID.
func (t *territory) need(id string, more int) {
	if id == "" {
		return
	}
	if t.needs[id] += more; t.needs[id] == 0 {
		delete(t.needs, id)
	}
}

func keysOf[T any](list []T, key func(*T) string) []string {
	keys := make([]string, len(list))
	for i := range list {
		keys[i] = key(&list[i])
	}
	return keys
}
