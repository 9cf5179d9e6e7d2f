package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// builder makes one table.
type builder struct {
	upstreams  map[string]*upstream
	old, pools map[way]*pool
	users      map[string][]*pool
	keyring    keyring
	tallies    tallies
}

// way is a way to forward, by which pools are known.
type way struct {
	affinity  route.Affinity
	balance   route.Balance
	upstreams string // names, sorted
}

func (b *builder) table(t *route.Table) (*table, error) {
	made := &table{plain: newNames(len(t.Hosts)), secure: newNames(len(t.Hosts))}
	for i := range t.Hosts {
		v := &t.Hosts[i]
		s, err := b.host(v)
		if err != nil {
			return nil, fmt.Errorf("host %.80q: %w", v.Name, err)
		}
		if err := made.secure.add(v.Name, s); err != nil {
			return nil, err
		}
		// Where only TLS requests are redirected, others find nobody.
		if s.redirect != "" || len(v.Routes) > 0 || len(v.Redirects) == 0 {
			if err := made.plain.add(v.Name, s); err != nil {
				return nil, err
			}
		}
	}
	for i := range t.Passthrough {
		if err := b.passthrough(made, &t.Passthrough[i]); err != nil {
			return nil, fmt.Errorf("passthrough of %.80q: %w", t.Passthrough[i].Name, err)
		}
	}
	if len(t.Default) > 0 {
		var err error
		if made.fallback, err = b.site(anyHost, t.Default); err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
	}
	return made, nil
}

func newNames(size int) names {
	return names{exact: make(map[string]*site, size), wildcards: map[string]*site{}}
}

func (n *names) add(name string, s *site) error {
	in, key := n.exact, strings.ToLower(name)
	if base, wildcard := strings.CutPrefix(key, "*."); wildcard {
		in, key = n.wildcards, base
		n.depth = max(n.depth, strings.Count(base, ".")+1)
	}
	if in[key] != nil {
		return fmt.Errorf("the table has the host %.80q twice", name)
	}
	in[key] = s
	return nil
}

// at returns what stands for a name itself.
func (n *names) at(name string) *site {
	key := strings.ToLower(name)
	if base, wildcard := strings.CutPrefix(key, "*."); wildcard {
		return n.wildcards[base]
	}
	return n.exact[key]
}

func (b *builder) host(v *route.VirtualHost) (*site, error) {
	s, err := b.site(v.Name, v.Routes)
	if err != nil {
		return nil, err
	}
	for _, r := range v.Redirects {
		switch r.Scheme {
		case "http":
			s.redirect = r.Target
		case "https":
			s.secureRedirect = r.Target
		}
	}
	if v.Credential != nil {
		s.policy, err = b.keyring.policy(v.Name)
	}
	return s, err
}

// passthrough hands the TLS connections of a host on. Plain requests for it are
// redirected where nobody answers them.
func (b *builder) passthrough(made *table, p *route.Passthrough) error {
	through, _, err := b.pool(&p.Forward)
	if err != nil {
		return err
	}
	s := made.secure.at(p.Name)
	if s == nil {
		s = &site{handsOn: p.RedirectPlain, tally: b.tallies.of(p.Name, "")}
		if err := made.secure.add(p.Name, s); err != nil {
			return err
		}
		if p.RedirectPlain {
			if err := made.plain.add(p.Name, s); err != nil {
				return err
			}
		}
	}
	if s.policy != nil || s.through != nil {
		return fmt.Errorf("its TLS is ended here too, or it is there twice")
	}
	s.through, s.passed = through, b.tallies.all(p.Name, through.upstreams)
	return nil
}

// anyHost is what the default routes are counted as, which are for all hosts
// that nobody names.
const anyHost = "*"

func (b *builder) site(host string, routes []route.Route) (*site, error) {
	s := &site{tally: b.tallies.of(host, "")}
	for i := range routes {
		r := &routes[i]
		root := strings.TrimRight(r.PathPrefix, "/")
		if !strings.HasPrefix(r.PathPrefix, "/") || s.at(root) != nil {
			return nil, fmt.Errorf("the path %.80q is there twice or does not begin with a slash", r.PathPrefix)
		}
		t := &target{root: root, rewrite: r.Rewrite && root != "", tlsOnly: r.TLSOnly}
		var spoken *route.Upstream
		var err error
		if t.pool, spoken, err = b.pool(&r.Forward); err != nil {
			return nil, fmt.Errorf("path %.80q: %w", r.PathPrefix, err)
		}
		t.tallies = b.tallies.all(host, t.pool.upstreams)
		if spoken != nil {
			t.tls, t.http2 = spoken.TLS != nil, spoken.HTTP2
		}
		for _, path := range r.Websockets {
			// Over HTTP/2 there are none.
			if !t.http2 {
				t.websockets = append(t.websockets, strings.TrimRight(path, "/"))
			}
		}
		s.add(t, len(routes))
	}
	return s, nil
}

// pool returns the pool of a way to forward: the same one as in the table
// before where that had it. Its endpoints are spoken to as those of the upstream are,
// which is nil where there is none.
func (b *builder) pool(f *route.Forward) (p *pool, spoken *route.Upstream, err error) {
	names := f.Upstreams
	if len(names) > 1 {
		names = slices.Compact(slices.Sorted(slices.Values(names)))
	}
	for i, name := range names {
		u := b.upstreams[name]
		switch {
		case u == nil:
			return nil, nil, fmt.Errorf("the table has no upstream %.80q", name)
		case i == 0:
			spoken = &u.spec
		case !u.spec.SpokenToAlike(spoken):
			return nil, nil, fmt.Errorf("the upstreams %.80q and %.80q are spoken to differently", names[0], name)
		}
	}
	key := way{f.Affinity, f.Balance, strings.Join(names, "\x00")}
	if p = b.pools[key]; p != nil {
		return p, spoken, nil
	}
	if p = b.old[key]; p == nil {
		p = &pool{affinity: f.Affinity, balance: f.Balance, upstreams: names}
	}
	b.pools[key] = p
	for _, name := range names {
		b.users[name] = append(b.users[name], p)
	}
	return p, spoken, nil
}

// setMembers gives a pool the endpoints of its upstreams.
func setMembers(p *pool, upstreams map[string]*upstream) {
	list := make([]*upstream, len(p.upstreams))
	for i, name := range p.upstreams {
		list[i] = upstreams[name]
	}
	p.members.Store(newMembers(list))
}
