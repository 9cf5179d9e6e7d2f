package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// plan is a table in nginx's terms: an nginx upstream has one list of servers,
// so every distinct way to forward becomes a pool.
type plan struct {
	pools    []*pool    // sorted by name where there are no parts; only those with servers
	hosts    []*host    // sorted by name
	fallback []location // answers for unknown hosts; empty: nobody does
	cookies  []string   // in lower case, sorted: those that requests stick to

	tls bool // somebody wants TLS connections
	// severalCertificates: not every name is proven by the same one.
	severalCertificates bool
	passthrough         []handed
	streamPools         []*pool // sorted by name; only those with servers
	// own are the hosts that the table names, in its order.
	own []*host
	// turn tells this plan from others.
	turn uint64
	// refused have no certificate, but a wildcard above them has; kept are
	// below a wildcard that is handed through, and are not. Both sorted.
	refused, kept []string
}

type host struct {
	name string
	// target and secureTarget are where plain requests and those over TLS are
	// redirected to; empty: nowhere.
	target, secureTarget string
	certificate          *certificate // nil: not served over TLS
	// handsOn: TLS connections are handed through, plain requests redirected.
	handsOn   bool
	locations []location
}

// plain reports whether there is anything for requests without TLS.
func (h *host) plain() bool { return h.target != "" || h.handsOn || len(h.locations) > 0 }

// location is what happens at a path and below it. Its path has no slash at the
// end; that of the root is empty.
type location struct {
	path string
	// strip is the start of the path that the app does not see.
	strip     string
	websocket bool // requests may be upgraded
	tlsOnly   bool // not for plain requests
	pool      *pool
}

// planner finds the pools that the routes of a table need.
type planner struct {
	upstreams []route.Upstream // sorted by name
	pools     map[string]*pool
	keys      *Keyring
	recall    *recall
}

// newPlan plans anew what the last plan does not have.
func newPlan(t *route.Table, keys *Keyring, last *division) (*plan, error) {
	p := planner{upstreams: t.Upstreams, pools: make(map[string]*pool), keys: keys, recall: newRecall(last, t, keys)}
	result := &plan{hosts: make([]*host, 0, len(t.Hosts)), turn: p.recall.turn}
	if p.recall.otherHosts {
		if err := distinctHosts(t.Hosts); err != nil {
			return nil, err
		}
	}
	for i := range t.Hosts {
		v := &t.Hosts[i]
		h := p.recall.host(v)
		if h == nil {
			var err error
			if h, err = p.host(v); err != nil {
				return nil, fmt.Errorf("host %.80q: %w", v.Name, err)
			}
		}
		keys.keep(h.certificate)
		result.hosts = append(result.hosts, h)
	}
	result.own = slices.Clone(result.hosts)
	if err := p.secure(t, result); err != nil {
		return nil, err
	}
	var err error
	if result.fallback, err = p.locations("", t.Default); err != nil {
		return nil, fmt.Errorf("default: %w", err)
	}
	result.collect()
	return result, nil
}

// distinctHosts fails for a host that is there twice: nginx would serve one of the
// two and only warn about the other.
func distinctHosts(hosts []route.VirtualHost) error {
	seen := make(map[string]bool, len(hosts))
	for i := range hosts {
		name := strings.ToLower(hosts[i].Name)
		if seen[name] {
			return fmt.Errorf("the table has the host %.80q twice", hosts[i].Name)
		}
		seen[name] = true
	}
	return nil
}

// textSize is about how many bytes the file of a plan has: growing a buffer of
// megabytes step by step would take as long as writing it.
func (p *plan) textSize() int {
	const rest, pool, server, host, location = 8 << 10, 256, 64, 192, 256
	size := rest + pool*len(p.pools) + host*len(p.hosts)
	for _, p := range p.pools {
		size += server * len(p.servers)
	}
	for i := range p.hosts {
		size += location * len(p.hosts[i].locations)
		for _, l := range p.hosts[i].locations {
			if l.websocket {
				size += 5 * location
			}
		}
	}
	return size
}

// http2 reports whether any pool is spoken to in HTTP/2.
func (p *plan) http2() bool {
	return slices.ContainsFunc(p.pools, func(p *pool) bool { return p.http2 })
}

func (p *planner) host(v *route.VirtualHost) (*host, error) {
	h := &host{name: v.Name, certificate: p.keys.certificate(v)}
	for _, r := range v.Redirects {
		if r.Scheme == "http" {
			h.target = r.Target
		} else {
			h.secureTarget = r.Target
		}
	}
	// What nobody would ask for makes no pools.
	if h.target != "" && (h.secureTarget != "" || h.certificate == nil) {
		return h, nil
	}
	var err error
	h.locations, err = p.locations(v.Name, v.Routes)
	return h, err
}

// collect finds the pools that have somebody to forward to, in the order in which
// the hosts have them.
func (p *plan) collect() {
	cookies := make(map[string]bool)
	meet := func(pool *pool) (first bool) {
		first = pool.turn != p.turn && len(pool.servers) > 0
		pool.turn = p.turn
		return first
	}
	in := func(list []location) {
		for i := range list {
			if pool := list[i].pool; meet(pool) {
				p.pools = append(p.pools, pool)
				if pool.affinity.Cookie != "" {
					cookies[strings.ToLower(pool.affinity.Cookie)] = true
				}
			}
		}
	}
	for _, h := range p.hosts {
		in(h.locations)
	}
	in(p.fallback)
	p.cookies = slices.Sorted(maps.Keys(cookies))
	for _, h := range p.passthrough {
		if h.pool != nil && meet(h.pool) {
			p.streamPools = append(p.streamPools, h.pool)
		}
	}
	slices.SortFunc(p.streamPools, byPoolName)
}

func byPoolName(a, b *pool) int { return strings.Compare(a.name, b.name) }

// locations turns routes into locations. "/app" and "/app/" are one location to
// nginx, which refuses a file that has one twice: such routes share it, in the
// way of the first.
func (p *planner) locations(host string, routes []route.Route) ([]location, error) {
	var merged []route.Route
	for _, r := range routes {
		if !strings.HasPrefix(r.PathPrefix, "/") {
			return nil, fmt.Errorf("the path %.80q does not begin with a slash", r.PathPrefix)
		}
		r.PathPrefix = strings.TrimRight(r.PathPrefix, "/")
		i := slices.IndexFunc(merged, func(m route.Route) bool { return m.PathPrefix == r.PathPrefix })
		if i < 0 {
			merged = append(merged, r)
			continue
		}
		merged[i].Forward.Upstreams = slices.Concat(merged[i].Forward.Upstreams, r.Forward.Upstreams)
	}
	var list []location
	for _, r := range merged {
		pool, err := p.pool(host, &r.Forward)
		if err != nil {
			return nil, fmt.Errorf("path %.80q: %w", r.PathPrefix+"/", err)
		}
		list = append(list, routeLocations(&r, pool)...)
	}
	return list, nil
}

// routeLocations has one location for the route itself and one for each path
// below it that requests may be upgraded at.
func routeLocations(r *route.Route, p *pool) []location {
	own := location{path: r.PathPrefix, pool: p, tlsOnly: r.TLSOnly}
	if r.Rewrite {
		own.strip = r.PathPrefix
	}
	list := []location{own}
	if p.http2 {
		return list // where there are none
	}
	for _, path := range r.Websockets {
		upgraded := location{path: strings.TrimRight(path, "/"), strip: own.strip, websocket: true, tlsOnly: own.tlsOnly, pool: p}
		if i := slices.IndexFunc(list, func(l location) bool { return l.path == upgraded.path }); i >= 0 {
			list[i] = upgraded
			continue
		}
		list = append(list, upgraded)
	}
	return list
}
