package proxy

import (
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
	"github.com/interlock-lb/interlock/internal/route"
)

// pool is all endpoints that a way to forward spreads its requests over. It
// outlives tables; its members are replaced at once.
type pool struct {
	affinity  route.Affinity
	upstreams []string // names
	members   atomic.Pointer[[]*endpoint]
	turn      atomic.Uint64
}

// pick chooses the endpoint for a request, not one of those that were tried
// already; nil: there is none. Those that are set aside come last, since a
// doubtful endpoint is better than none.
//
// together keeps the requests of a client where nothing else is said.
func (p *pool) pick(r *http1.Request, client string, together bool, tried []*endpoint, now time.Duration) *endpoint {
	members := *p.members.Load()
	if len(members) == 0 {
		return nil
	}
	if key, one := p.key(r, client, together); one {
		return byHash(members, key, tried, now)
	}
	return inTurn(members, p.turn.Add(1), tried, now)
}

// key is the hash of what requests that stay together have in common.
func (p *pool) key(r *http1.Request, client string, together bool) (key uint64, one bool) {
	switch {
	case p.affinity.Cookie != "":
		value := r.Cookie(p.affinity.Cookie)
		return hashOf(value), value != nil
	case p.affinity.ClientAddress, together:
		return hashOf(client), true
	}
	return 0, false
}

func inTurn(members []*endpoint, turn uint64, tried []*endpoint, now time.Duration) *endpoint {
	var aside *endpoint
	first := int(turn % uint64(len(members)))
	for i := range members {
		e := members[(first+i)%len(members)]
		switch {
		case isIn(tried, e):
		case e.ready(now):
			return e
		case aside == nil:
			aside = e
		}
	}
	return aside
}

// byHash is rendezvous hashing: every pair of a key and an endpoint has a
// weight, and the heaviest endpoint gets the key. One endpoint less moves
// nobody but its own, and all proxies choose alike.
func byHash(members []*endpoint, key uint64, tried []*endpoint, now time.Duration) *endpoint {
	var best, aside *endpoint
	var bestWeight, asideWeight uint64
	for _, e := range members {
		weight := mix(key ^ e.hash)
		switch {
		case isIn(tried, e):
		case best != nil && weight <= bestWeight:
		case e.ready(now):
			best, bestWeight = e, weight
		case aside == nil || weight > asideWeight:
			aside, asideWeight = e, weight
		}
	}
	if best == nil {
		return aside
	}
	return best
}

func isIn(list []*endpoint, e *endpoint) bool {
	for _, t := range list {
		if t == e {
			return true
		}
	}
	return false
}

// hashOf is FNV-1a: without a seed, so that all proxies agree.
func hashOf[T string | []byte](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}

// mix spreads the bits of a hash (the finalizer of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
