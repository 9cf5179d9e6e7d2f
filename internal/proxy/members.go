package proxy

import (
	"net/netip"
	"slices"

	"github.com/interlock-lb/interlock/internal/route"
)

// members are the endpoints of a pool and the share of each. They never change.
type members struct {
	list []*endpoint
	// weights are those of the list, and until their sums up to and with each;
	// nil: all are alike.
	weights, until []uint64
	// houses own keys of requests that stay together, in the order of the list;
	// nil: each endpoint owns its own.
	houses []house
}

// house is an upstream with a weight, whose keys are its own however many
// endpoints it has. Of an upstream without, each endpoint is one.
type house struct {
	end    int // of its endpoints in the list
	hash   uint64
	weight float64
}

// maxWeight bounds the weights of endpoints.
const maxWeight = 1 << 16

// newMembers takes the endpoints of upstreams: each once, where upstreams have
// addresses in common.
func newMembers(upstreams []*upstream) *members {
	if len(upstreams) == 1 && upstreams[0].spec.Weight == nil {
		return &members{list: upstreams[0].endpoints}
	}
	specs := make([]*route.Upstream, len(upstreams))
	for i, u := range upstreams {
		specs[i] = &u.spec
	}
	m, seen := &members{}, map[netip.AddrPort]bool{}
	for i, weight := range route.Weights(specs, maxWeight) {
		if weight == 0 {
			continue
		}
		for _, e := range upstreams[i].endpoints {
			if seen[e.addr] {
				continue
			}
			seen[e.addr] = true
			m.list, m.weights = append(m.list, e), append(m.weights, uint64(weight))
			if specs[i].Weight == nil {
				m.houses = append(m.houses, house{end: len(m.list), hash: e.hash, weight: 1})
			}
		}
		if w := specs[i].Weight; w != nil {
			m.houses = append(m.houses, house{end: len(m.list), hash: hashOf(specs[i].Name), weight: float64(*w)})
		}
	}
	m.simplify(slices.ContainsFunc(specs, func(u *route.Upstream) bool { return u.Weight != nil }))
	return m
}

// simplify leaves out what says nothing, so that most requests need not look at
// it; weighted says that some upstream has a weight.
func (m *members) simplify(weighted bool) {
	alike, sum := true, uint64(0)
	for _, w := range m.weights {
		sum += w
		m.until = append(m.until, sum)
		alike = alike && w == m.weights[0]
	}
	if alike {
		m.weights, m.until = nil, nil
	}
	if len(m.houses) == 1 || !weighted {
		m.houses = nil
	}
}
