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
	balance   route.Balance
	upstreams []string // names
	members   atomic.Pointer[members]
	turn      atomic.Uint64
}

// pick chooses the endpoint for a request, not one of those that were tried
// already; nil: there is none. Those that are set aside come last, since a
// doubtful endpoint is better than none.
//
// together keeps the requests of a client where nothing else is said.
func (p *pool) pick(r *http1.Request, client string, together bool, tried []*endpoint, now time.Duration) *endpoint {
	m := p.members.Load()
	if len(m.list) == 0 {
		return nil
	}
	if key, one := p.key(r, client, together); one {
		return m.byHash(key, tried, now)
	}
	if p.balance == route.BalanceLeastConn {
		return m.leastBusy(p.turn.Add(1), tried, now)
	}
	return m.inTurn(p.turn.Add(1), tried, now)
}

// key is the hash of what requests that stay together have in common.
func (p *pool) key(r *http1.Request, client string, together bool) (key uint64, one bool) {
	switch {
	case p.affinity.Cookie != "":
		value := r.Cookie(p.affinity.Cookie)
		return hashOf(value), value != nil
	case p.affinity.ClientAddress, together && p.balance == route.BalanceDefault:
		return hashOf(client), true
	}
	return 0, false
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
