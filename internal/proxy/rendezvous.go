package proxy

import (
	"math"
	"time"
)

// byHash is rendezvous hashing: every pair of a key and an endpoint has a number,
// and the endpoint with the greatest gets the key. One endpoint less moves nobody
// but its own, who come back with it, and all proxies choose alike.
func (m *members) byHash(key uint64, tried []*endpoint, now time.Duration) *endpoint {
	if m.houses != nil {
		return m.byHouse(key, tried, now)
	}
	best, aside := greatest(m.list, key, tried, now)
	if best == nil {
		return aside
	}
	return best
}

// greatest finds the endpoint for a key among those that can be had, and among
// those that are set aside; nil: there is none.
func greatest(list []*endpoint, key uint64, tried []*endpoint, now time.Duration) (best, aside *endpoint) {
	var bestNumber, asideNumber uint64
	for _, e := range list {
		number := mix(key ^ e.hash)
		switch {
		case isIn(tried, e):
		case best != nil && number <= bestNumber:
		case e.ready(now):
			best, bestNumber = e, number
		case aside == nil || number > asideNumber:
			aside, asideNumber = e, number
		}
	}
	return best, aside
}

// byHouse chooses a house first, in the same way but by its weight, then an
// endpoint of it: what a house scales to moves nobody to or from another.
func (m *members) byHouse(key uint64, tried []*endpoint, now time.Duration) *endpoint {
	var best, aside *endpoint
	bestNumber, asideNumber := math.Inf(-1), math.Inf(-1)
	begin := 0
	for i := range m.houses {
		h := &m.houses[i]
		one, doubtful := greatest(m.list[begin:h.end], key, tried, now)
		begin = h.end
		number := h.number(key)
		if one != nil && number > bestNumber {
			best, bestNumber = one, number
		}
		if doubtful != nil && number > asideNumber {
			aside, asideNumber = doubtful, number
		}
	}
	if best == nil {
		return aside
	}
	return best
}

// number is greatest for one house as often as its weight says: the logarithm of
// a number between 0 and 1, divided by the weight (Efraimidis and Spirakis).
func (h *house) number(key uint64) float64 {
	const most = 1 << 53
	between := (float64(mix(key^h.hash)>>11) + 0.5) / most
	return math.Log(between) / h.weight
}
