package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// compiler makes tables and keeps between them what outlives them: pools with
// their turns, endpoints with their connections and health.
type compiler struct {
	last      *route.Table // that was compiled
	table     *table
	upstreams map[string]*upstream
	pools     map[string]*pool   // by key
	users     map[string][]*pool // by upstream
}

// upstream is a named pool of the table with the endpoints that stand for it.
type upstream struct {
	spec      route.Upstream
	endpoints []*endpoint
}

// compile returns what serves a table, and the endpoints that were in the last
// one and are in this no longer: they are to be drained when it serves.
// On an error nothing has changed.
func (c *compiler) compile(t *route.Table) (*table, []*endpoint, error) {
	if c.last != nil && sameRoutes(c.last, t) {
		gone := c.changeEndpoints(t)
		c.last = t
		return c.table, gone, nil
	}
	upstreams, gone, err := c.nextUpstreams(t)
	if err != nil {
		return nil, nil, err
	}
	b := builder{upstreams: upstreams, old: c.pools, pools: make(map[string]*pool, len(c.pools)), users: make(map[string][]*pool, len(upstreams))}
	made, err := b.table(t)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range b.pools {
		setMembers(p, upstreams)
	}
	*c = compiler{last: t, table: made, upstreams: upstreams, pools: b.pools, users: b.users}
	return made, gone, nil
}

// changeEndpoints is for the change that comes most often, and has to be quick
// however large the table is.
func (c *compiler) changeEndpoints(t *route.Table) (gone []*endpoint) {
	for i := range t.Upstreams {
		spec := &t.Upstreams[i]
		if sameUpstream(&c.last.Upstreams[i], spec) {
			continue
		}
		old := c.upstreams[spec.Name]
		now := newUpstream(spec, old)
		c.upstreams[spec.Name] = now
		gone = appendMissing(gone, old, now)
		for _, p := range c.users[spec.Name] {
			setMembers(p, c.upstreams)
		}
	}
	return gone
}

// nextUpstreams keeps the upstreams that are as they were, and of the others
// the endpoints that are.
func (c *compiler) nextUpstreams(t *route.Table) (next map[string]*upstream, gone []*endpoint, err error) {
	next = make(map[string]*upstream, len(t.Upstreams))
	for i := range t.Upstreams {
		spec := &t.Upstreams[i]
		if next[spec.Name] != nil {
			return nil, nil, fmt.Errorf("the table has the upstream %.80q twice", spec.Name)
		}
		old := c.upstreams[spec.Name]
		if old != nil && sameUpstream(&old.spec, spec) {
			next[spec.Name] = old
			continue
		}
		next[spec.Name] = newUpstream(spec, old)
	}
	for name, old := range c.upstreams {
		if now := next[name]; now != old {
			gone = appendMissing(gone, old, now)
		}
	}
	return next, gone, nil
}

func newUpstream(spec *route.Upstream, old *upstream) *upstream {
	known := map[netip.AddrPort]*endpoint{}
	if old != nil && sameTerms(&old.spec, spec) {
		for _, e := range old.endpoints {
			known[e.addr] = e
		}
	}
	u := &upstream{spec: *spec, endpoints: make([]*endpoint, 0, len(spec.Endpoints))}
	for _, e := range spec.Endpoints {
		addr := netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port())
		if known[addr] == nil {
			known[addr] = newEndpoint(addr, spec)
		}
		u.endpoints = append(u.endpoints, known[addr])
	}
	return u
}

// appendMissing appends the endpoints of old that now has not.
func appendMissing(list []*endpoint, old, now *upstream) []*endpoint {
	still := map[*endpoint]bool{}
	if now != nil {
		for _, e := range now.endpoints {
			still[e] = true
		}
	}
	for _, e := range old.endpoints {
		if !still[e] {
			list = append(list, e)
		}
	}
	return list
}

// builder makes one table.
type builder struct {
	upstreams  map[string]*upstream
	old, pools map[string]*pool // by key
	users      map[string][]*pool
}

func (b *builder) table(t *route.Table) (*table, error) {
	made := &table{exact: make(map[string]*site, len(t.Hosts)), wildcards: map[string]*site{}}
	for i := range t.Hosts {
		v := &t.Hosts[i]
		s, err := b.site(v.Routes)
		if err != nil {
			return nil, fmt.Errorf("host %.80q: %w", v.Name, err)
		}
		for _, r := range v.Redirects {
			if r.Scheme == "http" {
				s.redirect = r.Target
			}
		}
		if s.redirect == "" && len(v.Routes) == 0 && len(v.Redirects) > 0 {
			continue // only TLS requests are redirected: others find nobody
		}
		names, name := made.exact, strings.ToLower(v.Name)
		if base, wildcard := strings.CutPrefix(name, "*."); wildcard {
			names, name = made.wildcards, base
			made.depth = max(made.depth, strings.Count(base, ".")+1)
		}
		if names[name] != nil {
			return nil, fmt.Errorf("the table has the host %.80q twice", v.Name)
		}
		names[name] = s
	}
	if len(t.Default) > 0 {
		var err error
		if made.fallback, err = b.site(t.Default); err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
	}
	return made, nil
}

func (b *builder) site(routes []route.Route) (*site, error) {
	s := &site{roots: make(map[string]*target, len(routes))}
	for i := range routes {
		r := &routes[i]
		root := strings.TrimRight(r.PathPrefix, "/")
		if !strings.HasPrefix(r.PathPrefix, "/") || s.roots[root] != nil {
			return nil, fmt.Errorf("the path %.80q is there twice or does not begin with a slash", r.PathPrefix)
		}
		t := &target{root: root, rewrite: r.Rewrite && root != ""}
		for _, path := range r.Websockets {
			t.websockets = append(t.websockets, strings.TrimRight(path, "/"))
		}
		var err error
		if t.pool, t.tls, err = b.pool(&r.Forward); err != nil {
			return nil, fmt.Errorf("path %.80q: %w", r.PathPrefix, err)
		}
		s.roots[root] = t
		s.depth = max(s.depth, strings.Count(root, "/"))
	}
	return s, nil
}

// pool returns the pool of a way to forward: the same one as in the table
// before where that had it.
func (b *builder) pool(f *route.Forward) (p *pool, tls bool, err error) {
	names := slices.Compact(slices.Sorted(slices.Values(f.Upstreams)))
	for i, name := range names {
		u := b.upstreams[name]
		switch {
		case u == nil:
			return nil, false, fmt.Errorf("the table has no upstream %.80q", name)
		case i == 0:
			tls = u.spec.TLS != nil
		case !equal(u.spec.TLS, b.upstreams[names[0]].spec.TLS):
			return nil, false, fmt.Errorf("the upstreams %.80q and %.80q speak TLS differently", names[0], name)
		}
	}
	affinity := fmt.Sprintf("%t %s", f.Affinity.ClientAddress, f.Affinity.Cookie)
	key := strings.Join(append([]string{affinity}, names...), "\x00")
	if p = b.pools[key]; p != nil {
		return p, tls, nil
	}
	if p = b.old[key]; p == nil {
		p = &pool{affinity: f.Affinity, upstreams: names}
	}
	b.pools[key] = p
	for _, name := range names {
		b.users[name] = append(b.users[name], p)
	}
	return p, tls, nil
}

// setMembers gives a pool the endpoints of its upstreams: each once, where
// upstreams have addresses in common.
func setMembers(p *pool, upstreams map[string]*upstream) {
	var list []*endpoint
	seen := map[netip.AddrPort]bool{}
	for _, name := range p.upstreams {
		for _, e := range upstreams[name].endpoints {
			if !seen[e.addr] {
				seen[e.addr] = true
				list = append(list, e)
			}
		}
	}
	p.members.Store(&list)
}
