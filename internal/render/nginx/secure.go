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
		known := slices.ContainsFunc(result.hosts, func(h *host) bool { return strings.EqualFold(h.name, v.Name) })
		if v.RedirectPlain && !known {
			result.hosts = append(result.hosts, &host{name: v.Name, handsOn: true})
		}
	}
	slices.SortFunc(result.hosts, func(a, b *host) int { return strings.Compare(a.name, b.name) })
	result.tls = len(result.passthrough) > 0 || slices.ContainsFunc(t.Hosts, func(v route.VirtualHost) bool { return v.Credential != nil })
	result.sortNames(t)
	return nil
}

// sortNames finds the names that would be taken for those below a wildcard.
func (p *plan) sortNames(t *route.Table) {
	var proven, wild []string // wildcards with a certificate, and handed through
	first := ""
	for _, h := range p.hosts {
		if h.certificate == nil {
			continue
		}
		if first == "" {
			first = h.certificate.id
		}
		p.severalCertificates = p.severalCertificates || h.certificate.id != first
		if strings.HasPrefix(h.name, "*.") {
			proven = append(proven, h.name)
		}
	}
	for _, h := range p.passthrough {
		if strings.HasPrefix(h.name, "*.") {
			wild = append(wild, h.name)
		}
		if coveredBy(proven, h.name) {
			p.refused = append(p.refused, h.name)
		}
	}
	for i := range t.Hosts {
		name := t.Hosts[i].Name
		handed := slices.ContainsFunc(p.passthrough, func(h handed) bool { return h.name == name })
		if !handed && coveredBy(wild, name) {
			p.kept = append(p.kept, name)
		}
		if !handed && coveredBy(proven, name) && !p.proves(name) {
			p.refused = append(p.refused, name)
		}
	}
	slices.Sort(p.refused)
}

func coveredBy(wildcards []string, name string) bool {
	return slices.ContainsFunc(wildcards, func(w string) bool { return covers(w, name) })
}

func (p *plan) proves(name string) bool {
	return slices.ContainsFunc(p.hosts, func(h *host) bool { return h.name == name && h.certificate != nil })
}

// streamPool is a pool of layer 4. Its name differs from that of every other:
// shared memory knows but one kind of owner.
func (p *planner) streamPool(f *route.Forward) (*pool, error) {
	made := &pool{affinity: f.Affinity, balance: f.Balance, stream: true}
	return p.fill(made, f, "passthrough")
}
