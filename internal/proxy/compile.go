package proxy

import (
	"fmt"
	"net/netip"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// compiler makes tables and keeps between them what outlives them: pools with
// their turns, endpoints with their connections and health.
type compiler struct {
	last        *route.Table // that was compiled
	credentials render.Credentials
	versions    versions
	policies    map[certificate]*policy

	table     *table
	upstreams map[string]*upstream
	pools     map[way]*pool
	users     map[string][]*pool // by upstream
	tallies   map[pairing]*tally
	// changed says that the last table was to be served otherwise than the one
	// before.
	changed bool
}

// upstream is a named pool of the table with the endpoints that stand for it.
type upstream struct {
	spec      route.Upstream
	endpoints []*endpoint
}

// turnover is what a table changes of endpoints.
type turnover struct {
	// gone were in the last table: they are to be drained when this one serves.
	gone []*endpoint
	// doubted have joined others, who do until these are probed: one that has just
	// come may not take connections yet, or not be reached.
	doubted []*endpoint
}

// add notes that an upstream gives way to another; either may be nil.
func (o *turnover) add(old, now *upstream) {
	if old == nil {
		return
	}
	o.gone = appendMissing(o.gone, old, now)
	if now == nil {
		return
	}
	// Where all are new there is nobody else to ask.
	if joined := appendMissing(nil, now, old); len(joined) < len(now.endpoints) {
		for _, e := range joined {
			e.doubt()
		}
		o.doubted = append(o.doubted, joined...)
	}
}

// compile returns what serves a table, and what it changes. On an error nothing
// has changed.
func (c *compiler) compile(t *route.Table, credentials render.Credentials, v versions) (*table, turnover, error) {
	if c.serves(t, credentials, v) {
		changed := c.changeEndpoints(t)
		c.last, c.credentials = t, credentials
		return c.table, changed, nil
	}
	before := c.policies
	if c.versions != v {
		before = nil
	}
	upstreams, changed, err := c.nextUpstreams(t)
	if err != nil {
		return nil, turnover{}, err
	}
	b := builder{
		upstreams: upstreams, old: c.pools, pools: make(map[way]*pool, len(upstreams)), users: make(map[string][]*pool, len(upstreams)),
		keyring: keyring{credentials: credentials, versions: v, old: before, policies: make(map[certificate]*policy, len(before))},
		tallies: tallies{old: c.tallies, now: make(map[pairing]*tally, 2*len(t.Hosts))},
	}
	made, err := b.table(t)
	if err != nil {
		return nil, turnover{}, err
	}
	for _, p := range b.pools {
		setMembers(p, upstreams)
	}
	*c = compiler{
		last: t, credentials: credentials, versions: v, policies: b.keyring.policies,
		table: made, upstreams: upstreams, pools: b.pools, users: b.users, tallies: b.tallies.now, changed: true,
	}
	return made, changed, nil
}

// serves reports whether a table differs from the last one in endpoints and
// weights at most.
func (c *compiler) serves(t *route.Table, credentials render.Credentials, v versions) bool {
	return c.last != nil && c.versions == v && sameRoutes(c.last, t) && sameCredentials(c.credentials, credentials)
}

// changeEndpoints is for the change that comes most often, and has to be quick
// however large the table is.
func (c *compiler) changeEndpoints(t *route.Table) (changed turnover) {
	c.changed = false
	for i := range t.Upstreams {
		spec := &t.Upstreams[i]
		if sameUpstream(&c.last.Upstreams[i], spec) {
			continue
		}
		c.changed = true
		old := c.upstreams[spec.Name]
		now := newUpstream(spec, old)
		c.upstreams[spec.Name] = now
		changed.add(old, now)
		for _, p := range c.users[spec.Name] {
			setMembers(p, c.upstreams)
		}
	}
	return changed
}

// nextUpstreams keeps the upstreams that are as they were, and of the others
// the endpoints that are.
func (c *compiler) nextUpstreams(t *route.Table) (next map[string]*upstream, changed turnover, err error) {
	next = make(map[string]*upstream, len(t.Upstreams))
	for i := range t.Upstreams {
		spec := &t.Upstreams[i]
		if next[spec.Name] != nil {
			return nil, changed, fmt.Errorf("the table has the upstream %.80q twice", spec.Name)
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
			changed.add(old, now)
		}
	}
	return next, changed, nil
}

// newUpstream keeps the endpoints of old, if they are on the same terms.
func newUpstream(spec *route.Upstream, old *upstream) *upstream {
	known := map[netip.AddrPort]*endpoint{}
	if old != nil && sameTerms(&old.spec, spec) {
		for _, e := range old.endpoints {
			known[e.addr] = e
		}
	}
	u := &upstream{spec: *spec, endpoints: make([]*endpoint, 0, len(spec.Endpoints))}
	for i := range spec.Endpoints {
		at := spec.Endpoints[i].Addr
		addr := netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		e, there := known[addr]
		switch {
		case there && e == nil:
			continue // it is in the list already
		case !there:
			e = newEndpoint(addr, spec)
		}
		known[addr] = nil
		u.endpoints = append(u.endpoints, e)
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
