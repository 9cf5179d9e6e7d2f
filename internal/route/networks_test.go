package route_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// everywhere may be attached to any of the fixture's networks, and is to none.
func everywhere() route.Cluster {
	return route.Cluster{Attachable: []string{"net-front", "net-back"}}
}

func networks() *Swarm { return NewSwarm(2).Network("front").Network("back").Network("hidden") }

func expectNeeds(t *testing.T, s *Swarm, c route.Cluster, want ...string) {
	t.Helper()
	if _, needs, _ := route.Build(s.Snapshot(), []route.Cluster{c}); !slices.Equal(needs[0], want) {
		t.Errorf("the proxies need %v, want %v", needs[0], want)
	}
}

func TestAServiceWithoutAHostModePortNeedsItsNetworkEvenWithoutATask(t *testing.T) {
	expectNeeds(t, networks().
		Service("one", labels("hosts", "one.test", "port", "80"), Joins("front")).
		Service("two", labels("hosts", "two.test", "port", "80"), Joins("front")).
		Service("mesh", labels("hosts", "mesh.test", "port", "80"), Joins("back"), Publishes(80, snapshot.PublishIngress)),
		everywhere(), "net-back", "net-front")
}

func TestAServiceThatIsReachedOtherwiseNeedsNoNetwork(t *testing.T) {
	expectNeeds(t, networks().
		Service("published", labels("hosts", "published.test", "port", "80"), Joins("front"), Publishes(80, snapshot.PublishHost)).
		Service("alone", labels("hosts", "alone.test", "port", "80")).
		Service("plain", nil, Joins("front")).
		Service("faulty", labels("hosts", "not a host", "port", "80"), Joins("front")).
		Service("elsewhere", labels("hosts", "elsewhere.test", "port", "80", "service_cluster", "west"), Joins("front")),
		everywhere())
}

func TestTheNetworkThatALabelNamesIsNeededInSpiteOfAHostModePort(t *testing.T) {
	expectNeeds(t, networks().Service("demo", labels("hosts", "demo.test", "port", "80", "network", "back"),
		Joins("front", "back"), Publishes(80, snapshot.PublishHost)), everywhere(), "net-back")
}

func TestAServiceInVIPModeNeedsANetworkOnWhichItHasAVirtualIP(t *testing.T) {
	vip := labels("hosts", "demo.test", "port", "80", "backend_mode", "vip")
	expectNeeds(t, networks().Service("demo", vip, Joins("front", "back"), Publishes(80, snapshot.PublishHost)).VirtualIP("demo", "back", "10.2.0.2"),
		everywhere(), "net-back")
	expectNeeds(t, networks().Service("demo", vip, Joins("front", "back")), everywhere())
}

func TestOfSeveralNetworksThePreferredOneIsNeededAndNoOther(t *testing.T) {
	s := networks().Service("demo", labels("hosts", "demo.test", "port", "80"), Joins("front", "back", "hidden"))
	expectNeeds(t, s, everywhere(), "net-front")
	expectNeeds(t, s, route.Cluster{Attachable: []string{"net-back", "net-front"}}, "net-back")
}

func TestTheRoutingMeshsNetworkIsNeverNeeded(t *testing.T) {
	snap := networks().Service("demo", labels("hosts", "demo.test", "port", "80"), Joins("front")).Snapshot()
	snap.Network("net-front").Ingress = true
	if _, needs, _ := route.Build(snap, []route.Cluster{everywhere()}); len(needs[0]) != 0 {
		t.Errorf("the proxies need %v", needs[0])
	}
}

func TestEachClusterNeedsTheNetworksOfItsOwnServices(t *testing.T) {
	east, west := everywhere(), everywhere()
	east.Name, west.Name = "east", "west"
	_, needs, _ := route.Build(networks().
		Service("e", labels("hosts", "demo.test", "port", "80", "service_cluster", "east"), Joins("front")).
		Service("w", labels("hosts", "demo.test", "port", "80", "service_cluster", "west"), Joins("back")).Snapshot(),
		[]route.Cluster{west, east})
	if !slices.Equal(needs[0], []string{"net-back"}) || !slices.Equal(needs[1], []string{"net-front"}) {
		t.Errorf("west and east need %v", needs)
	}
}

func expectNoAddress(t *testing.T, s *Swarm, c route.Cluster, words ...string) {
	t.Helper()
	_, _, problems := route.Build(s.Snapshot(), []route.Cluster{c})
	if len(problems) != 1 || problems[0].Kind != problem.NoAddress {
		t.Fatalf("problems %v, want one: no address", problems)
	}
	for _, w := range words {
		if !strings.Contains(problems[0].Message, w) {
			t.Errorf("%q does not say %q", problems[0].Message, w)
		}
	}
}

func TestAServiceOnExcludedNetworksOnlyIsToldTheNetworkAndTheKey(t *testing.T) {
	s := networks().Service("demo", labels("hosts", "demo.test", "port", "80"), Joins("hidden")).Task("demo", 1, 1, On("hidden", "10.3.0.3"))
	expectNoAddress(t, s, everywhere(), "Networks in config.toml keeps them from its network hidden")
	vip := networks().Service("demo", labels("hosts", "demo.test", "port", "80", "backend_mode", "vip"), Joins("hidden")).VirtualIP("demo", "hidden", "10.3.0.2")
	expectNoAddress(t, vip, everywhere(), "Networks in config.toml keeps them from its network hidden")
}

func TestAServiceThatWaitsForTheProxiesToBeAttachedIsToldSo(t *testing.T) {
	s := networks().Service("demo", labels("hosts", "demo.test", "port", "80"), Joins("front")).Task("demo", 1, 1, On("front", "10.1.0.3"))
	expectNoAddress(t, s, everywhere(), "attached to its network front yet")
	attached := everywhere()
	attached.Networks = []string{"net-front"}
	if tables, _, problems := route.Build(s.Snapshot(), []route.Cluster{attached}); len(problems) != 0 || lines(tables[0]) != "demo.test/: demo[10.1.0.3:80]\n" {
		t.Errorf("once attached: %s %v", lines(tables[0]), problems)
	}
}

func TestAServiceWithSeveralUsableNetworksIsToldWhichOnesThereAre(t *testing.T) {
	c := everywhere()
	c.Networks = []string{"net-front"}
	_, _, problems := route.Build(networks().
		Service("demo", labels("hosts", "demo.test", "port", "80"), Joins("front", "back", "hidden")).
		Task("demo", 1, 1, On("front", "10.1.0.3"), On("back", "10.2.0.3"), On("hidden", "10.3.0.3")).Snapshot(), []route.Cluster{c})
	want := "the proxies may reach the service over several networks: back, front; they do over front, name the right one in the label"
	if len(problems) != 1 || problems[0].Kind != problem.ManyNetworks || problems[0].Message != want {
		t.Errorf("problems: %v", problems)
	}
}
