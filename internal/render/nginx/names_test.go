package nginx

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestAWildcardStandsForAllThatIsBelowIt(t *testing.T) {
	w := make(wildcards)
	for _, name := range []string{"*.Example.com", "*.sub.other.test", "plain.test"} {
		w.add(name)
	}
	for name, want := range map[string]bool{
		"a.example.com": true, "A.B.EXAMPLE.com": true, "*.b.example.com": true, "x.sub.other.test": true,
		"example.com": false, "*.example.com": false, "*.EXAMPLE.COM": false, "badexample.com": false,
		"sub.other.test": false, "a.other.test": false, "a.plain.test": false, "": false,
	} {
		if got := w.cover(name); got != want {
			t.Errorf("%q: got %t", name, got)
		}
	}
}

// ratio is how much longer one thing takes than another, each at its best of a few
// times, so that what else the machine does matters little.
func ratio(one, other func()) float64 {
	best := func(do func()) time.Duration {
		least := time.Hour
		for range 5 {
			began := time.Now()
			do()
			least = min(least, time.Since(began))
		}
		return least
	}
	return float64(best(one)) / float64(best(other))
}

func TestNamesBelowAWildcardCostWhatOthersDo(t *testing.T) {
	names := func(hosts int) func() {
		table := tableOf(hosts, 1)
		credentials := render.Credentials{}
		table.Hosts = append(table.Hosts, route.VirtualHost{Name: "*.example.com", Routes: table.Hosts[0].Routes})
		slices.SortFunc(table.Hosts, func(a, b route.VirtualHost) int { return strings.Compare(a.Name, b.Name) })
		for i := range table.Hosts {
			h := &table.Hosts[i]
			secret := route.Material{Name: "wild", ID: "1"}
			h.Credential = &route.Credential{Chain: secret, Key: secret, Asker: "app"}
			credentials[h.Name] = render.Pair{Chain: []byte("both"), Key: []byte("both")}
		}
		for i := range hosts {
			table.Passthrough = append(table.Passthrough, route.Passthrough{
				Name: fmt.Sprintf("through-%05d.test", i), RedirectPlain: true, Forward: table.Hosts[1].Routes[0].Forward,
			})
		}
		plan := &plan{}
		for i := range table.Hosts {
			plan.hosts = append(plan.hosts, &host{name: table.Hosts[i].Name, certificate: &certificate{id: "same"}})
		}
		for i := range table.Passthrough {
			plan.passthrough = append(plan.passthrough, handed{name: table.Passthrough[i].Name})
		}
		return func() { plan.sortNames(table) }
	}
	if got := ratio(names(8000), names(500)); got > 80 {
		t.Errorf("sixteen times as many names take %.0f times as long", got)
	}
}
