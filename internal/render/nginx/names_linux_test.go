package nginx

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// ratio is how much more CPU time one thing takes than another: in turns, each at
// its best, and by the clock of this thread alone, so that what else the machine
// does matters little.
func ratio(t *testing.T, one, other func()) float64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bestOne, bestOther := time.Hour, time.Hour
	for range 10 {
		bestOther = min(bestOther, cpuTime(t, other))
		bestOne = min(bestOne, cpuTime(t, one))
	}
	return float64(bestOne) / float64(bestOther)
}

func cpuTime(t *testing.T, do func()) time.Duration {
	t.Helper()
	now := func() time.Duration {
		var spec unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &spec); err != nil {
			t.Fatal(err)
		}
		return time.Duration(spec.Nano())
	}
	began := now()
	do()
	return now() - began
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
	if got := ratio(t, names(8000), names(500)); got > 80 {
		t.Errorf("sixteen times as many names take %.0f times as long", got)
	}
}
