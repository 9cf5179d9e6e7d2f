package nginx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// handed is a host whose TLS connections are handed through.
type handed struct {
	name string
	pool *pool // nil if nobody is there to take them
}

// secure plans what happens to TLS connections.
func (p *planner) secure(t *route.Table, result *plan) error {
	known := make(map[string]bool) // in lower case
	if len(t.Passthrough) > 0 {
		for _, h := range result.hosts {
			known[strings.ToLower(h.name)] = true
		}
	}
	for i := range t.Passthrough {
		v := &t.Passthrough[i]
		pool, err := p.streamPool(&v.Forward)
		if err != nil {
			return fmt.Errorf("passthrough of %.80q: %w", v.Name, err)
		}
		if len(pool.servers) == 0 {
			pool = nil
		}
		result.passthrough = append(result.passthrough, handed{v.Name, pool})
		if name := strings.ToLower(v.Name); v.RedirectPlain && !known[name] {
			known[name] = true
			result.hosts = append(result.hosts, &host{name: v.Name, handsOn: true})
		}
	}
	slices.SortFunc(result.hosts, func(a, b *host) int { return strings.Compare(a.name, b.name) })
	result.tls = len(result.passthrough) > 0 || slices.ContainsFunc(t.Hosts, func(v route.VirtualHost) bool { return v.Credential != nil })
	result.sortNames(t)
	return nil
}

// sortNames finds the names that would be taken for those below a wildcard. There
// may be thousands of both.
func (p *plan) sortNames(t *route.Table) {
	proven, wild := make(wildcards), make(wildcards) // with a certificate, and handed through
	handed := make(map[string]bool)
	first := ""
	for _, h := range p.hosts {
		if h.certificate == nil {
			continue
		}
		if first == "" {
			first = h.certificate.id
		}
		p.severalCertificates = p.severalCertificates || h.certificate.id != first
		proven.add(h.name)
	}
	for _, h := range p.passthrough {
		handed[h.name] = true
		wild.add(h.name)
		if proven.cover(h.name) {
			p.refused = append(p.refused, h.name)
		}
	}
	for i := range t.Hosts {
		name := t.Hosts[i].Name
		if handed[name] {
			continue
		}
		if wild.cover(name) {
			p.kept = append(p.kept, name)
		}
		if proven.cover(name) && !p.proves(name) {
			p.refused = append(p.refused, name)
		}
	}
	slices.Sort(p.refused)
}

// proves reports whether a host has a certificate. The hosts are sorted.
func (p *plan) proves(name string) bool {
	at, there := slices.BinarySearchFunc(p.hosts, name, func(h *host, name string) int { return strings.Compare(h.name, name) })
	return there && p.hosts[at].certificate != nil
}

// streamPool is a pool of layer 4. Its name differs from that of every other:
// shared memory knows but one kind of owner.
func (p *planner) streamPool(f *route.Forward) (*pool, error) {
	made := &pool{affinity: f.Affinity, balance: f.Balance, stream: true}
	return p.fill(made, f, "passthrough")
}
