package proxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
	"github.com/interlock-lb/interlock/internal/route"
)

// group is an upstream of endpoints; a weight below 0 is none.
func group(name string, endpoints, weight int) *upstream {
	spec := route.Upstream{Name: name}
	if weight >= 0 {
		spec.Weight = &weight
	}
	for i := range endpoints {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, name[0], name[len(name)-1], byte(i)}), 80)
		spec.Endpoints = append(spec.Endpoints, route.Endpoint{Addr: addr})
	}
	return newUpstream(&spec, nil)
}

// scaled is the group with another number of endpoints.
func scaled(u *upstream, endpoints int) *upstream {
	spec := group(u.spec.Name, endpoints, -1).spec
	spec.Weight = u.spec.Weight
	return newUpstream(&spec, u)
}

// swarm is some groups, each with at least one endpoint.
func swarm(random *rand.Rand) []*upstream {
	var list []*upstream
	for i := range 1 + random.IntN(4) {
		list = append(list, group(fmt.Sprintf("u%d", i), 1+random.IntN(6), random.IntN(21)-1))
	}
	return list
}

func owner(list []*upstream, e *endpoint) *upstream {
	for _, u := range list {
		for _, mine := range u.endpoints {
			if mine == e {
				return u
			}
		}
	}
	return nil
}

// shares are what each endpoint should get of all requests.
func shares(list []*upstream) map[*endpoint]float64 {
	total, each := 0.0, map[*endpoint]float64{}
	for _, u := range list {
		counts := float64(len(u.endpoints))
		if u.spec.Weight != nil && counts > 0 {
			counts = float64(*u.spec.Weight)
		}
		total += counts
		for _, e := range u.endpoints {
			each[e] = counts / float64(len(u.endpoints))
		}
	}
	for e := range each {
		each[e] /= max(total, 1)
	}
	return each
}

func TestEveryEndpointGetsItsShareWheneverOneBeginsToCount(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		list := swarm(random)
		m, counts, begin := newMembers(list), map[*endpoint]int{}, random.Uint64()
		if len(m.list) == 0 {
			continue
		}
		const requests = 2000
		for n := range uint64(requests) {
			counts[m.inTurn(begin+n, nil, 0)]++
		}
		for e, share := range shares(list) {
			if got, want := float64(counts[e]), share*requests; math.Abs(got-want) > 8 {
				t.Fatalf("%s got %g of %d requests, want %g", e.text, got, requests, want)
			}
		}
	}
}

func TestWhoIsSetAsideLeavesItsTurnsToAllOthers(t *testing.T) {
	for _, list := range [][]*upstream{{group("a", 4, -1)}, {group("a", 2, 10), group("b", 2, 10)}} {
		m, counts := newMembers(list), map[*endpoint]int{}
		aside := m.list[1]
		aside.failed(0)
		const requests = 3000
		for n := range uint64(requests) {
			counts[m.inTurn(n, nil, 1)]++
		}
		for i, e := range m.list {
			got, want := counts[e], requests/3
			if i == 1 {
				want = 0
			}
			if math.Abs(float64(got-want)) > requests/15 {
				t.Errorf("%s got %d of %d requests, want about %d", e.text, got, requests, want)
			}
		}
	}
}

func keys(n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = hashOf(fmt.Sprintf("session-%d", i))
	}
	return list
}

func TestKeysAreSpreadAsTheSharesAre(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const requests = 20_000
	sessions := keys(requests)
	for range 30 {
		list := swarm(random)
		m, counts := newMembers(list), map[*endpoint]int{}
		if len(m.list) == 0 {
			continue
		}
		for _, key := range sessions {
			counts[m.byHash(key, nil, 0)]++
		}
		for e, share := range shares(list) {
			// Five standard deviations of a binomial distribution.
			if got, most := float64(counts[e]), 5*math.Sqrt(requests*share*(1-share))+1; math.Abs(got-share*requests) > most {
				t.Errorf("%s got %g of %d keys, want %g give or take %g", e.text, got, requests, share*requests, most)
			}
		}
	}
}

// A key moves to an endpoint that is new, or away from one that is gone, and in
// the groups with a weight it does not leave its group.
func TestScalingMovesOnlyWhatItMust(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	sessions := keys(300)
	for range 300 {
		before := swarm(random)
		i := random.IntN(len(before))
		after := append([]*upstream{}, before...)
		after[i] = scaled(before[i], 1+random.IntN(6))
		old, now := newMembers(before), newMembers(after)
		if len(old.list) == 0 {
			continue
		}
		for _, key := range sessions {
			from, to := old.byHash(key, nil, 0), now.byHash(key, nil, 0)
			gone, came := owner(after, from) == nil, owner(before, to) == nil
			if from != to && !gone && !came {
				t.Fatalf("a key moved from %s to %s, and both were and are there", from.text, to.text)
			}
			if weight := before[i].spec.Weight; from != to && weight != nil && owner(after, to).spec.Name != owner(before, from).spec.Name {
				t.Fatalf("a key moved from %s to %s, of which one has the weight %d", from.text, to.text, *weight)
			}
		}
	}
}

func TestKeysOfAnEndpointThatIsSetAsideComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	sessions := keys(300)
	for range 100 {
		list := swarm(random)
		m := newMembers(list)
		if len(m.list) < 2 {
			continue
		}
		before := map[uint64]*endpoint{}
		for _, key := range sessions {
			before[key] = m.byHash(key, nil, 0)
		}
		aside := m.list[random.IntN(len(m.list))]
		aside.failed(0)
		for _, key := range sessions {
			if got := m.byHash(key, nil, 1); got == aside || before[key] != aside && got != before[key] {
				t.Fatalf("with %s set aside, a key of %s goes to %s", aside.text, before[key].text, got.text)
			}
		}
		aside.asideUntil.Store(0)
		for _, key := range sessions {
			if got := m.byHash(key, nil, 1); got != before[key] {
				t.Fatalf("a key of %s is at %s now", before[key].text, got.text)
			}
		}
	}
}

func TestOfTwoThatAreDrawnTheLessBusyForItsWeightIsTaken(t *testing.T) {
	m := newMembers([]*upstream{group("a", 1, 3), group("b", 1, 1)})
	heavy, light := m.list[0], m.list[1]
	for _, test := range []struct {
		heavy, light int64
		want         *endpoint
	}{{0, 1, heavy}, {1, 0, light}, {2, 1, heavy}, {4, 1, light}, {5, 2, heavy}} {
		heavy.running.Store(test.heavy)
		light.running.Store(test.light)
		for n := range uint64(100) {
			if got := m.leastBusy(n, nil, 0); got != test.want {
				t.Errorf("with %d and %d requests at work: %s", test.heavy, test.light, got.text)
				break
			}
		}
	}
}

func TestChoosingAllocatesNothing(t *testing.T) {
	var request http1.Request
	for name, p := range map[string]*pool{
		"in turn": {}, "least busy": {balance: route.BalanceLeastConn}, "address": {affinity: route.Affinity{ClientAddress: true}},
	} {
		p.members.Store(newMembers([]*upstream{group("a", 5, 95), group("b", 2, 5), group("c", 3, -1)}))
		if allocated := testing.AllocsPerRun(1000, func() { p.pick(&request, "10.0.0.1", false, nil, 0) }); allocated > 0 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
}
