package route_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

// pool is an upstream of so many endpoints; a weight below 0 is none.
func pool(endpoints, weight int) *route.Upstream {
	u := &route.Upstream{Name: fmt.Sprintf("%d/%d", weight, endpoints)}
	if weight >= 0 {
		u.Weight = &weight
	}
	for i := range endpoints {
		u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)})
	}
	return u
}

func TestAWeightCountsAsThatManyTasksHoweverManyThereAre(t *testing.T) {
	for name, test := range map[string]struct {
		upstreams []*route.Upstream
		most      int
		want      []int
	}{
		"nobody has one":                   {[]*route.Upstream{pool(4, -1), pool(1, -1)}, 100, []int{1, 1}},
		"a canary of 5 %":                  {[]*route.Upstream{pool(1, 95), pool(1, 5)}, 100, []int{19, 1}},
		"the same, scaled":                 {[]*route.Upstream{pool(10, 95), pool(2, 5)}, 100, []int{19, 5}},
		"beside one without":               {[]*route.Upstream{pool(4, -1), pool(3, 1)}, 100, []int{3, 1}},
		"alone":                            {[]*route.Upstream{pool(7, 95)}, 100, []int{1}},
		"none at all":                      {[]*route.Upstream{pool(7, 95), pool(7, 0)}, 100, []int{1, 0}},
		"none at all, and nobody else":     {[]*route.Upstream{pool(7, 0)}, 100, []int{0}},
		"the others have no task":          {[]*route.Upstream{pool(0, 95), pool(3, 5), pool(0, -1)}, 100, []int{0, 1, 0}},
		"too fine, so rounded":             {[]*route.Upstream{pool(1, 1000), pool(1, 333)}, 10, []int{10, 3}},
		"too small, but not none":          {[]*route.Upstream{pool(1, 1000), pool(50, 1)}, 10, []int{10, 1}},
		"rounded, and reduced":             {[]*route.Upstream{pool(1, 1000), pool(1, 501)}, 10, []int{2, 1}},
		"whole numbers would be too great": {[]*route.Upstream{pool(997, 1000), pool(991, 1000), pool(983, 1000), pool(977, 1000)}, 1000, []int{490, 493, 497, 500}},
	} {
		if got := route.Weights(test.upstreams, test.most); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// Whatever is asked for, a share is right to a hundredth of itself or, where it
// is tiny, of a percent, and nothing that is to get requests gets none.
func TestSharesAreRightAtAnyScale(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const most = 1 << 16
	for range 20_000 {
		var upstreams []*route.Upstream
		total := 0.0
		for range 1 + random.IntN(5) {
			u := pool(random.IntN(30), random.IntN(route.MaxWeight+2)-1)
			upstreams = append(upstreams, u)
			total += counts(u)
		}
		weights := route.Weights(upstreams, most)
		sum := 0
		for i, w := range weights {
			if w > most {
				t.Fatalf("%d is more than %d", w, most)
			}
			sum += w * len(upstreams[i].Endpoints)
		}
		for i, u := range upstreams {
			if counts(u) == 0 {
				if weights[i] != 0 {
					t.Fatalf("%s gets %d", u.Name, weights[i])
				}
				continue
			}
			want, got := counts(u)/total, float64(weights[i]*len(u.Endpoints))/float64(sum)
			if math.Abs(got-want) > want/100+0.0001 {
				t.Fatalf("%s of %v: share %g, want %g", u.Name, names(upstreams), got, want)
			}
		}
	}
}

func counts(u *route.Upstream) float64 {
	switch {
	case len(u.Endpoints) == 0:
		return 0
	case u.Weight == nil:
		return float64(len(u.Endpoints))
	}
	return float64(*u.Weight)
}

func names(upstreams []*route.Upstream) (list []string) {
	for _, u := range upstreams {
		list = append(list, u.Name)
	}
	return list
}
