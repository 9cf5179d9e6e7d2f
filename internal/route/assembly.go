package route

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/problem"
)

// assembly makes one table out of what services ask for, the oldest first:
// who comes later finds what is taken.
type assembly struct {
	*builder
	sites map[string]*site // by host name; empty for those that nobody names
	next  map[string]string
	// met are the places of each disagreement; order keeps theirs.
	met   map[disagreement][]place
	order []disagreement
	// bare are the hosts without a certificate of services that want TLS only.
	bare map[*wish][]string
}

// site is a host name and who has a say in it.
type site struct {
	owner     *wish             // the oldest that serves or redirects it
	redirects map[string]string // scheme to target
	shares    map[string]*share // by context root
	// through has those that get TLS connections as they come. It is there, or
	// shares are.
	through    *share
	credential *Credential
	proves     *wish // whose credential it is
}

// share is a context root and the services that share it.
type share struct {
	first     *wish
	upstreams []string
}

// assemble makes the part of a table that wishes have a say in, but for its
// upstreams, and says whose upstreams it uses. The wishes come oldest first, and
// share no host with others.
func (b *builder) assemble(wishes []*wish) (part Table, used []*wish) {
	a := assembly{
		builder: b, sites: make(map[string]*site), next: make(map[string]string),
		met: make(map[disagreement][]place), bare: make(map[*wish][]string),
	}
	for _, w := range wishes {
		if a.redirect(w) && a.serve(w) {
			used = append(used, w)
		}
	}
	for _, d := range a.order {
		a.reportLabel(d.younger, problem.Conflict, d.label, d.message(a.met[d]))
	}
	for _, name := range slices.Sorted(maps.Keys(a.sites)) {
		a.place(&part, name, a.sites[name])
	}
	for _, w := range used {
		a.reportBare(w)
	}
	return part, used
}

// place writes what was settled of a host.
func (a *assembly) place(t *Table, name string, s *site) {
	routes := a.routes(name, s)
	if name == "" {
		t.Default = routes
		return
	}
	a.lament(name, s)
	if s.through != nil {
		t.Passthrough = append(t.Passthrough, s.passthrough(name))
	}
	if len(routes) > 0 || len(s.redirects) > 0 {
		t.Hosts = append(t.Hosts, VirtualHost{Name: name, Redirects: s.sortedRedirects(), Credential: s.credential, Routes: routes})
	}
}

func (b *builder) upstream(w *wish, c Cluster) Upstream {
	u := Upstream{Name: w.service.Spec.Name, TLS: w.terms.tls, HTTP2: w.terms.http2, Weight: w.labels.Weight, MaxFails: w.labels.MaxFails, Endpoints: b.endpoints(w, c)}
	if w.labels.FailTimeout != nil {
		u.FailTimeout = *w.labels.FailTimeout
	}
	return u
}

// site returns the entry of a host, which belongs to w if nobody was first.
func (a *assembly) site(host string, w *wish) *site {
	s := a.sites[host]
	if s == nil {
		s = &site{owner: w, redirects: make(map[string]string), shares: make(map[string]*share)}
		a.sites[host] = s
	}
	return s
}

// serve gives a service its share of the hosts that it names; false if it gets
// nothing at all but perhaps redirects.
func (a *assembly) serve(w *wish) bool {
	served := false
	for _, host := range w.labels.Hosts {
		s, p := a.site(host, w), place{host, w.labels.ContextRoot}
		switch first := s.first(); {
		case first != nil && first.terms.passthrough != w.terms.passthrough:
			a.disagree(disagreement{younger: w, older: first, label: "ssl_passthrough", leftOut: true}, p)
		case first == nil && s.owner != w:
			a.reportLabel(w, problem.Conflict, "hosts", fmt.Sprintf(
				"the service gets no requests for %s: the older service %s redirects it", host, s.owner.service.Spec.Name))
		case w.terms.passthrough:
			a.handThrough(s, host, w)
			served = true
		default:
			served = a.join(s, p, w) || served
		}
	}
	if w.labels.DefaultBackend {
		served = a.join(a.site("", w), place{"", w.labels.ContextRoot}, w) || served
	}
	return served
}

func (a *assembly) join(s *site, p place, w *wish) bool {
	group := s.shares[p.root]
	if group == nil {
		group = &share{first: w}
		s.shares[p.root] = group
	}
	list, leftOut := disagreements(w, group.first)
	for _, d := range list {
		a.disagree(d, p)
	}
	if leftOut {
		return false
	}
	group.upstreams = append(group.upstreams, w.service.Spec.Name)
	if p.host != "" {
		a.offer(s, p, w)
	}
	return true
}

func (a *assembly) disagree(d disagreement, p place) {
	if a.met[d] == nil {
		a.order = append(a.order, d)
	}
	a.met[d] = append(a.met[d], p)
}

// first is the oldest that serves the site; nil if it is only redirected. Who
// redirects a host without serving it keeps all others out.
func (s *site) first() *wish {
	if s.through == nil && len(s.shares) == 0 {
		return nil
	}
	return s.owner
}

// routes returns the routes of a host, the longest prefix first.
func (a *assembly) routes(host string, s *site) []Route {
	roots := slices.SortedFunc(maps.Keys(s.shares), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(y), len(x)), strings.Compare(x, y))
	})
	var routes []Route
	for _, root := range roots {
		group := s.shares[root]
		slices.Sort(group.upstreams)
		r := Route{
			PathPrefix: root, Rewrite: group.first.terms.rewrite, TLSOnly: group.first.terms.tlsOnly,
			Forward: Forward{Upstreams: group.upstreams, Affinity: group.first.terms.affinity, Balance: group.first.terms.balance},
		}
		for _, path := range group.first.terms.websockets {
			// Roots are sorted, so the first one that has the path is the longest.
			longest := roots[slices.IndexFunc(roots, func(other string) bool { return below(path, other) })]
			if longest == root {
				r.Websockets = append(r.Websockets, path)
				continue
			}
			a.reportLabel(group.first, problem.NoEffect, "websocket_endpoints", fmt.Sprintf(
				"%s has no effect at %s: the service %s has the longer context root %s",
				path, place{host, root}, s.shares[longest].first.service.Spec.Name, longest))
		}
		routes = append(routes, r)
	}
	return routes
}
