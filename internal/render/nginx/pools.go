package nginx

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// pool is one upstream block.
type pool struct {
	name     string // of a closed alphabet
	affinity route.Affinity
	balance  route.Balance
	tls      *route.TLS // nil: the servers speak without
	http2    bool
	stream   bool // of layer 4
	// reuse keeps connections for later requests.
	reuse   bool
	servers []server
	// turn is the last plan that the pool was met in.
	turn uint64
}

type server struct {
	addr   netip.AddrPort
	weight int     // 1 or more
	health keyword // when it is set aside; empty: nginx's own way
}

// pool returns the pool with the endpoints of all upstreams of a forward. A TLS
// connection is made, and its certificate verified, for one host: hosts share
// no such pool, and where the host may be any, connections are not reused.
func (p *planner) pool(host string, f *route.Forward) (*pool, error) {
	names := slices.Compact(slices.Sorted(slices.Values(f.Upstreams)))
	made := &pool{affinity: f.Affinity, balance: f.Balance, reuse: true}
	scope := ""
	if first := p.upstream(names); first != nil && first.TLS != nil {
		scope, made.reuse = "host "+host, host != "" && !strings.HasPrefix(host, "*.")
	}
	return p.fill(made, f, scope)
}

// upstream returns the first of the names; nil: there is none, or no such upstream.
func (p *planner) upstream(names []string) *route.Upstream {
	if len(names) == 0 {
		return nil
	}
	at, there := slices.BinarySearchFunc(p.upstreams, names[0], func(u route.Upstream, name string) int { return strings.Compare(u.Name, name) })
	if !there {
		return nil
	}
	return &p.upstreams[at]
}

// fill gives a pool its name and servers, or returns the one that is there.
func (p *planner) fill(made *pool, f *route.Forward, scope string) (*pool, error) {
	names := slices.Compact(slices.Sorted(slices.Values(f.Upstreams)))
	made.name = poolName(names, f, scope)
	known := p.pools[made.name]
	if known == nil {
		known = p.recall.pool(made.name, names)
	}
	if known != nil {
		return known, nil
	}
	upstreams := make([]*route.Upstream, 0, len(names))
	for _, name := range names {
		u := p.upstream([]string{name})
		if u == nil {
			return nil, fmt.Errorf("the table has no upstream %.80q", name)
		}
		upstreams = append(upstreams, u)
	}
	weights := route.Weights(upstreams, maxWeight(f))
	for i, u := range upstreams {
		name := u.Name
		if i == 0 {
			made.tls, made.http2 = u.TLS, u.HTTP2
		} else if !u.SpokenToAlike(upstreams[0]) {
			return nil, fmt.Errorf("the upstreams %.80q and %.80q are spoken to differently", names[0], name)
		}
		if weights[i] == 0 {
			continue
		}
		health, err := healthOf(u)
		if err != nil {
			return nil, fmt.Errorf("upstream %.80q: %w", name, err)
		}
		made.servers = slices.Grow(made.servers, len(u.Endpoints))
		for _, e := range u.Endpoints {
			addr := netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port())
			made.servers = append(made.servers, server{addr: addr, weight: weights[i], health: health})
		}
	}
	slices.SortStableFunc(made.servers, func(a, b server) int {
		return cmp.Or(a.addr.Addr().Compare(b.addr.Addr()), cmp.Compare(a.addr.Port(), b.addr.Port()))
	})
	made.servers = slices.CompactFunc(made.servers, func(a, b server) bool { return a.addr == b.addr })
	p.pools[made.name] = made
	return made, nil
}

// maxWeight bounds the weights of a pool's servers. Consistent hashing keeps 160
// points of 16 bytes for each unit of weight, sorted, in every worker.
func maxWeight(f *route.Forward) int {
	const hashed, counted = 100, 1 << 16
	if f.Affinity != (route.Affinity{}) {
		return hashed
	}
	return counted
}

// healthOf is the same for all servers of an upstream, and written once for them.
func healthOf(u *route.Upstream) (keyword, error) {
	var terms []string
	if u.MaxFails != nil {
		terms = append(terms, "max_fails="+strconv.Itoa(*u.MaxFails))
	}
	if u.FailTimeout != 0 {
		text, err := duration(u.FailTimeout).text()
		if err != nil {
			return "", err
		}
		terms = append(terms, "fail_timeout="+text)
	}
	return keyword(strings.Join(terms, " ")), nil
}

// poolName derives a name that people recognise and nginx takes: what is
// readable of the first upstream's name, and a hash that makes it unique.
func poolName(upstreams []string, f *route.Forward, scope string) string {
	var key []byte
	if scope != "" {
		key = fmt.Appendf(key, "%d:%s;", len(scope), scope)
	}
	if f.Affinity != (route.Affinity{}) {
		key = fmt.Appendf(key, "cookie %q, address %t:", f.Affinity.Cookie, f.Affinity.ClientAddress)
	}
	if f.Balance != route.BalanceDefault {
		key = fmt.Appendf(key, "balance %s:", f.Balance)
	}
	for _, name := range upstreams {
		key = append(append(strconv.AppendInt(key, int64(len(name)), 10), ':'), name...)
	}
	sum := sha256.Sum256(key)
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
	return readable + "-" + hex.EncodeToString(sum[:8])
}
