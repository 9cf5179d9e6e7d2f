package nginx

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// plan is a table in nginx's terms: an nginx upstream has one list of servers,
// so every distinct set of upstreams that a route forwards to becomes a pool.
type plan struct {
	pools    []*pool // sorted by name; only those with endpoints
	hosts    []host
	fallback *pool // answers for unknown hosts; nil: nobody does
}

// pool is one upstream block.
type pool struct {
	name      string // of a closed alphabet
	endpoints []netip.AddrPort
}

type host struct {
	name      string
	locations []location
}

// location is what happens below a path. Its prefix has no slash at the end;
// that of the root is empty.
type location struct {
	prefix    string
	upstreams []string
	pool      *pool
}

// planner finds the pools that the routes of a table need.
type planner struct {
	upstreams map[string][]route.Endpoint
	pools     map[string]*pool
}

func newPlan(t *route.Table) (*plan, error) {
	p := planner{upstreams: make(map[string][]route.Endpoint, len(t.Upstreams)), pools: make(map[string]*pool)}
	for _, u := range t.Upstreams {
		p.upstreams[u.Name] = u.Endpoints
	}
	result := &plan{hosts: make([]host, 0, len(t.Hosts))}
	seen := make(map[string]bool, len(t.Hosts))
	for _, v := range t.Hosts {
		// nginx would serve one of the two and only warn about the other.
		if name := strings.ToLower(v.Name); seen[name] {
			return nil, fmt.Errorf("the table has the host %.80q twice", v.Name)
		} else {
			seen[name] = true
		}
		h, err := p.host(v)
		if err != nil {
			return nil, fmt.Errorf("host %.80q: %w", v.Name, err)
		}
		result.hosts = append(result.hosts, h)
	}
	if t.Default != nil {
		var err error
		if result.fallback, err = p.pool(t.Default.Upstreams); err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
	}
	for _, pool := range p.pools {
		if len(pool.endpoints) > 0 {
			result.pools = append(result.pools, pool)
		}
	}
	slices.SortFunc(result.pools, func(a, b *pool) int { return strings.Compare(a.name, b.name) })
	return result, nil
}

// host turns routes into locations. "/app" and "/app/" are one location to
// nginx, which refuses a file that has one twice: such routes share it.
func (p *planner) host(v route.VirtualHost) (host, error) {
	h := host{name: v.Name}
	for _, r := range v.Routes {
		if !strings.HasPrefix(r.PathPrefix, "/") {
			return host{}, fmt.Errorf("the path %.80q does not begin with a slash", r.PathPrefix)
		}
		prefix := strings.TrimRight(r.PathPrefix, "/")
		i := slices.IndexFunc(h.locations, func(l location) bool { return l.prefix == prefix })
		if i < 0 {
			i = len(h.locations)
			h.locations = append(h.locations, location{prefix: prefix})
		}
		h.locations[i].upstreams = append(h.locations[i].upstreams, r.Forward.Upstreams...)
	}
	for i := range h.locations {
		l := &h.locations[i]
		var err error
		if l.pool, err = p.pool(l.upstreams); err != nil {
			return host{}, fmt.Errorf("path %.80q: %w", l.prefix+"/", err)
		}
	}
	return h, nil
}

// pool returns the pool with the endpoints of all the named upstreams.
func (p *planner) pool(upstreams []string) (*pool, error) {
	names := slices.Compact(slices.Sorted(slices.Values(upstreams)))
	id := poolName(names)
	if known := p.pools[id]; known != nil {
		return known, nil
	}
	made := &pool{name: id}
	for _, name := range names {
		endpoints, known := p.upstreams[name]
		if !known {
			return nil, fmt.Errorf("the table has no upstream %.80q", name)
		}
		for _, e := range endpoints {
			made.endpoints = append(made.endpoints, netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port()))
		}
	}
	slices.SortFunc(made.endpoints, func(a, b netip.AddrPort) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
	})
	made.endpoints = slices.Compact(made.endpoints)
	p.pools[id] = made
	return made, nil
}

// poolName derives a name that people recognise and nginx takes: what is
// readable of the first upstream's name, and a hash that makes it unique.
func poolName(upstreams []string) string {
	h := sha256.New()
	for _, name := range upstreams {
		fmt.Fprintf(h, "%d:%s", len(name), name)
	}
	readable := "none"
	if len(upstreams) > 0 {
		readable = upstreams[0][:min(len(upstreams[0]), 40)]
	}
	readable = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, readable)
	return readable + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}
