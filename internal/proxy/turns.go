package proxy

import (
	"math/bits"
	"sort"
	"time"
)

// golden is the golden section of 1<<64.
const golden = 0x9e3779b97f4a7c15

// spins is how often an endpoint is drawn before all are looked at.
const spins = 8

// inTurn gives each endpoint its share, evenly over time. One that cannot be had
// leaves its turns to all others. One that is set aside is chosen if there is no
// other; nil: all were tried.
func (m *members) inTurn(turn uint64, tried []*endpoint, now time.Duration) *endpoint {
	if e := m.list[m.at(turn)]; !isIn(tried, e) && e.ready(now) {
		return e
	}
	for n := range uint64(spins) {
		if e := m.list[m.drawn(mix(turn*spins+n))]; !isIn(tried, e) && e.ready(now) {
			return e
		}
	}
	return m.any(int(mix(turn)%uint64(len(m.list))), tried, now)
}

// at is whose turn it is. With weights the turns go round a circle of which each
// endpoint has its share, in steps of the golden section: these fall into no part
// of it much more often than its size says, whenever one begins to count.
func (m *members) at(turn uint64) int {
	if m.until == nil {
		return int(turn % uint64(len(m.list)))
	}
	return m.drawn(turn * golden)
}

// drawn is whose part of the circle a place is in; it is 1<<64 around.
func (m *members) drawn(place uint64) int {
	if m.until == nil {
		i, _ := bits.Mul64(place, uint64(len(m.list)))
		return int(i)
	}
	within, _ := bits.Mul64(place, m.until[len(m.until)-1])
	return sort.Search(len(m.until), func(i int) bool { return within < m.until[i] })
}

// any is the first that can be had, from one of the list on.
func (m *members) any(first int, tried []*endpoint, now time.Duration) *endpoint {
	var aside *endpoint
	for i := range m.list {
		e := m.list[(first+i)%len(m.list)]
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

// leastBusy draws an endpoint, as the shares are, and any other, and takes the
// one with fewer requests at work for its weight: almost as even as asking all of
// them, and proxies that do not know of each other do not all choose the same one.
func (m *members) leastBusy(turn uint64, tried []*endpoint, now time.Duration) *endpoint {
	one := m.drawn(mix(turn * spins))
	if !m.steady(one, tried) {
		return m.inTurn(turn, tried, now)
	}
	for n := uint64(1); n < spins && len(m.list) > 1; n++ {
		other := (one + 1 + int(mix(turn*spins+n)%uint64(len(m.list)-1))) % len(m.list)
		if !m.steady(other, tried) {
			continue
		}
		if m.list[other].running.Load()*m.weight(one) < m.list[one].running.Load()*m.weight(other) {
			one = other
		}
		break
	}
	return m.list[one]
}

// steady reports whether an endpoint can be had and is not in doubt.
func (m *members) steady(i int, tried []*endpoint) bool {
	return m.list[i].asideUntil.Load() == 0 && !isIn(tried, m.list[i])
}

func (m *members) weight(i int) int64 {
	if m.weights == nil {
		return 1
	}
	return int64(m.weights[i])
}
