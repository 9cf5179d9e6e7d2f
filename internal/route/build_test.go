package route_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

func labels(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m["com.docker.lb."+pairs[i]] = pairs[i+1]
	}
	return m
}

// build returns the default cluster's table as lines, and the problems.
func build(s *Swarm, networks ...string) (string, []problem.Problem) {
	tables, _, problems := route.Build(s.Snapshot(), []route.Cluster{{Networks: networks}})
	return lines(tables[0]), problems
}

func lines(t route.Table) string {
	var b strings.Builder
	endpoints := map[string]string{}
	for _, u := range t.Upstreams {
		for _, e := range u.Endpoints {
			endpoints[u.Name] += " " + e.Addr.String()
		}
	}
	show := func(name string, f route.Forward) {
		fmt.Fprintf(&b, "%s:", name)
		for _, u := range f.Upstreams {
			fmt.Fprintf(&b, " %s[%s]", u, strings.TrimSpace(endpoints[u]))
		}
		b.WriteString("\n")
	}
	for _, h := range t.Hosts {
		for _, r := range h.Routes {
			show(h.Name+r.PathPrefix, r.Forward)
		}
	}
	for _, r := range t.Default {
		show("default"+r.PathPrefix, r.Forward)
	}
	return b.String()
}

func expect(t *testing.T, s *Swarm, want string, networks ...string) {
	t.Helper()
	got, problems := build(s, networks...)
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for _, p := range problems {
		t.Errorf("unexpected problem: %s", p)
	}
}

func expectProblem(t *testing.T, s *Swarm, want problem.Problem) {
	t.Helper()
	table, problems := build(s, "net-front")
	if diff := cmp.Diff([]problem.Problem{want}, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if !strings.Contains(table, "healthy.test/: healthy[10.0.0.1:30000]\n") {
		t.Errorf("the healthy service is no longer routed; the table is\n%s", table)
	}
}

// healthy has one service that is always routed, whatever stands beside it.
func healthy() *Swarm {
	return NewSwarm(2).Network("front").Network("back").
		Service("healthy", labels("hosts", "healthy.test", "port", "8080")).Task("healthy", 1, 1, HostPort(8080, 30000))
}

func TestAHostModeServiceIsReachedAtItsNodesAddressAndThePortTheEnginePicked(t *testing.T) {
	expect(t, NewSwarm(3).
		Service("demo", labels("hosts", "demo.local,www.demo.local", "port", "8080")).
		Task("demo", 1, 2, HostPort(8080, 32768)).
		Task("demo", 2, 3, HostPort(9090, 32769), HostPort(8080, 32770)), `
demo.local/: demo[10.0.0.2:32768 10.0.0.3:32770]
www.demo.local/: demo[10.0.0.2:32768 10.0.0.3:32770]
`)
}

func TestAServiceOnASharedNetworkIsReachedAtItsTasksAddresses(t *testing.T) {
	expect(t, NewSwarm(2).Network("front").Network("back").
		Service("demo", labels("hosts", "demo.local", "port", "8080"), Joins("back", "front")).
		Task("demo", 1, 1, On("back", "10.2.0.5"), On("front", "10.1.0.5")), `
demo.local/: demo[10.1.0.5:8080]
`, "net-front")
}

func TestTheNetworkLabelDecidesBetweenNetworksAndGoesBeforeAHostModePort(t *testing.T) {
	for _, name := range []string{"shop_back", "back"} {
		set := labels("hosts", "demo.local", "port", "8080", "network", name)
		set["com.docker.stack.namespace"] = "shop"
		expect(t, NewSwarm(2).Network("front").Network("shop_back").
			Service("demo", set, Joins("shop_back", "front")).
			Task("demo", 1, 1, HostPort(8080, 30000), On("shop_back", "10.2.0.5"), On("front", "10.1.0.5")), `
demo.local/: demo[10.2.0.5:8080]
`, "net-front", "net-shop_back")
	}
}

func TestTheOnlyPublishedPortNeedsNoLabel(t *testing.T) {
	expect(t, NewSwarm(1).
		Service("demo", labels("hosts", "demo.local"), Publishes(8080, snapshot.PublishHost)).
		Task("demo", 1, 1, HostPort(8080, 30000)), `
demo.local/: demo[10.0.0.1:30000]
`)
}

func TestTasksThatStartStopOrHaveStoppedGetNoRequests(t *testing.T) {
	s := NewSwarm(1).Service("demo", labels("hosts", "demo.local", "port", "8080")).Task("demo", 1, 1, HostPort(8080, 30001))
	for i, states := range [][2]snapshot.TaskState{
		{snapshot.TaskStarting, snapshot.TaskRunning},
		{snapshot.TaskRunning, snapshot.TaskShutdown},
		{snapshot.TaskRunning, snapshot.TaskRemove},
		{snapshot.TaskFailed, snapshot.TaskShutdown},
	} {
		s.Task("demo", i+2, 1, HostPort(8080, uint16(30002+i)), States(states[0], states[1]))
	}
	expect(t, s, "demo.local/: demo[10.0.0.1:30001]\n")
}

func TestTasksOnALostNodeServeOnlyWhileThereAreNoOthers(t *testing.T) {
	s := NewSwarm(2).Service("demo", labels("hosts", "demo.local", "port", "8080")).
		Task("demo", 1, 1, HostPort(8080, 30001)).Task("demo", 2, 2, HostPort(8080, 30002))
	expect(t, s.NodeDown(1), "demo.local/: demo[10.0.0.2:30002]\n")
	expect(t, s.NodeDown(2), "demo.local/: demo[10.0.0.1:30001 10.0.0.2:30002]\n")
}

// Swarm wants all tasks of a lost node shut down, which it cannot tell them.
func TestServicesWithAllNodesLostAreServedByWhatRunsThere(t *testing.T) {
	s := NewSwarm(2).Service("demo", labels("hosts", "demo.local", "port", "8080")).
		Task("demo", 1, 1, HostPort(8080, 30001), States(snapshot.TaskRunning, snapshot.TaskShutdown)).
		Task("demo", 2, 2, HostPort(8080, 30002), States(snapshot.TaskRunning, snapshot.TaskRemove)).
		Task("demo", 3, 2, HostPort(8080, 30003), States(snapshot.TaskPending, snapshot.TaskRunning))
	expect(t, s.NodeDown(1).NodeDown(2), "demo.local/: demo[10.0.0.1:30001]\n")
}

func TestAJobIsServedUntilItIsComplete(t *testing.T) {
	job := func(state snapshot.TaskState) *Swarm {
		return NewSwarm(1).Service("job", labels("hosts", "job.local", "port", "8080")).
			Task("job", 1, 1, HostPort(8080, 30001), States(state, snapshot.TaskComplete))
	}
	expect(t, job(snapshot.TaskRunning), "job.local/: job[10.0.0.1:30001]\n")
	expect(t, job(snapshot.TaskComplete), "job.local/: job[]\n")
}

func TestAServiceScaledToNothingKeepsItsHost(t *testing.T) {
	expect(t, NewSwarm(1).Service("demo", labels("hosts", "demo.local", "port", "8080")), "demo.local/: demo[]\n")
}

func TestTwoServicesOfOneHostShareIt(t *testing.T) {
	expect(t, NewSwarm(2).
		Service("v2", labels("hosts", "demo.local", "port", "8080")).Task("v2", 1, 1, HostPort(8080, 30002)).
		Service("v1", labels("hosts", "demo.local", "port", "8080")).Task("v1", 1, 2, HostPort(8080, 30001)), `
demo.local/: v1[10.0.0.2:30001] v2[10.0.0.1:30002]
`)
}

func TestScalingAServiceInVIPModeChangesNothing(t *testing.T) {
	table := func(tasks int) string {
		s := NewSwarm(2).Network("front").Service("demo", labels("hosts", "demo.local", "port", "8080", "backend_mode", "vip"), Joins("front")).
			VirtualIP("demo", "front", "10.1.0.2")
		for i := range tasks {
			s.Task("demo", i+1, 1, On("front", fmt.Sprintf("10.1.0.%d", i+10)))
		}
		tables, _, problems := route.Build(s.Snapshot(), []route.Cluster{{Networks: []string{"net-front"}}})
		for _, p := range problems {
			t.Errorf("unexpected problem: %s", p)
		}
		return tables[0].Version()
	}
	if table(0) != table(1) || table(1) != table(5) {
		t.Error("the table depends on the tasks")
	}
	expect(t, NewSwarm(1).Network("front").Service("demo", labels("hosts", "demo.local", "port", "8080", "backend_mode", "vip"), Joins("front")).
		VirtualIP("demo", "front", "10.1.0.2"), "demo.local/: demo[10.1.0.2:8080]\n", "net-front")
}

func TestOfServicesOfTheSameAgeTheSmallerIDDecides(t *testing.T) {
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		s := NewSwarm(1)
		for _, name := range order {
			s.Service(name, labels("hosts", "demo.local", "port", "80", "sticky_session_cookie", name), func(s *snapshot.Service) { s.CreatedAt = time.Time{} })
		}
		tables, _, problems := route.Build(s.Snapshot(), []route.Cluster{{}})
		if got := tables[0].Hosts[0].Routes[0].Forward.Affinity.Cookie; got != "a" {
			t.Errorf("%v: requests stick to the cookie %q, want that of a", order, got)
		}
		if len(problems) != 1 || problems[0].Kind != problem.Conflict || problems[0].Service != "b" {
			t.Errorf("%v: problems %v, want one for b", order, problems)
		}
	}
}

func TestRedirectsOfManyServicesLeadOnABoundedNumberOfTimes(t *testing.T) {
	s := NewSwarm(1)
	// Each is older than the one that leads to it.
	for i := range 13 {
		s.Service(fmt.Sprintf("s%02d", i), labels("hosts", fmt.Sprintf("s%d.test", i), "port", "80",
			"redirects", fmt.Sprintf("http://r%d.test,http://r%d.test", i+1, i)))
	}
	_, _, problems := route.Build(s.Snapshot(), []route.Cluster{{}})
	for i, p := range problems {
		if !strings.Contains(p.Message, "leads on more than") {
			t.Errorf("problem %d: %s", i, p)
		}
	}
	if len(problems) == 0 {
		t.Error("a chain of 13 redirects was taken")
	}
}

func TestARedirectOfTLSRequestsTakesNoPlainHostFromAnybody(t *testing.T) {
	got, problems := build(NewSwarm(1).
		Service("squatter", labels("hosts", "evil.test", "port", "80", "redirects", "https://shop.test,http://evil.test")).Task("squatter", 1, 1, HostPort(80, 30001)).
		Service("shop", labels("hosts", "shop.test", "port", "80")).Task("shop", 1, 1, HostPort(80, 30002)).
		Service("late", labels("hosts", "late.test", "port", "80", "redirects", "https://evil.test,https://shop.test;https://shop.test,http://late.test")).Task("late", 1, 1, HostPort(80, 30003)))
	want := `
evil.test/: squatter[10.0.0.1:30001]
late.test/: late[10.0.0.1:30003]
shop.test/: shop[10.0.0.1:30002]
`
	if got != want[1:] {
		t.Errorf("got\n%swant%s", got, want)
	}
	for _, p := range problems {
		if p.Kind != problem.NoEffect {
			t.Errorf("unexpected problem: %s", p)
		}
	}
	if len(problems) != 3 {
		t.Errorf("%d problems, want one for each redirect: %v", len(problems), problems)
	}
}

func TestTheDefaultBackendNeedsNoHost(t *testing.T) {
	expect(t, NewSwarm(1).
		Service("lost", labels("default_backend", "true", "port", "8080")).Task("lost", 1, 1, HostPort(8080, 30001)), `
default/: lost[10.0.0.1:30001]
`)
}

func TestEachClusterSeesItsOwnServicesOnly(t *testing.T) {
	s := NewSwarm(1).
		Service("east", labels("hosts", "a.test", "port", "80", "service_cluster", "us-east")).Task("east", 1, 1, HostPort(80, 30001)).
		Service("west", labels("hosts", "a.test", "port", "80", "service_cluster", "us-west")).Task("west", 1, 1, HostPort(80, 30002)).
		Service("none", labels("hosts", "a.test", "port", "80", "service_cluster", "us-north"))
	tables, _, problems := route.Build(s.Snapshot(), []route.Cluster{{Name: "us-west"}, {Name: "us-east"}, {}})
	got := lines(tables[0]) + lines(tables[1]) + lines(tables[2])
	if want := "a.test/: west[10.0.0.1:30002]\na.test/: east[10.0.0.1:30001]\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want := []problem.Problem{{
		Kind: problem.NoCluster, Service: "none", Label: "com.docker.lb.service_cluster", Value: "us-north",
		Message: "no extension serves this service cluster; there are: the default cluster (no label), us-east, us-west",
	}}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestABadLabelKeepsOnlyItsServiceOut(t *testing.T) {
	expectProblem(t, healthy().Service("bad", labels("hosts", "bad.test", "port", "http")).Task("bad", 1, 1, HostPort(80, 30001)), problem.Problem{
		Kind: problem.BadLabel, Service: "bad", Label: "com.docker.lb.port", Value: "http",
		Message: "not a number; expected a port number from 1 to 65535, for example com.docker.lb.port=8080",
	})
}

func TestAServiceWithoutAHostIsToldSo(t *testing.T) {
	expectProblem(t, healthy().Service("bad", labels("port", "80")), problem.Problem{
		Kind: problem.MissingLabel, Service: "bad", Label: "com.docker.lb.hosts",
		Message: "the service has Interlock labels but names no host; add the label with the host names to serve, or default_backend=true",
	})
}

func TestAServiceOfSeveralPortsMustSayWhichOne(t *testing.T) {
	expectProblem(t, healthy().Service("bad", labels("hosts", "bad.test"), Publishes(9090, snapshot.PublishHost), Publishes(8080, snapshot.PublishIngress)), problem.Problem{
		Kind: problem.MissingLabel, Service: "bad", Label: "com.docker.lb.port",
		Message: "say which port inside the container takes requests; the service publishes 8080, 9090",
	})
}

func TestANetworkThatTheServiceIsNotOnIsRefusedWithTheCandidates(t *testing.T) {
	expectProblem(t, healthy().Service("bad", labels("hosts", "bad.test", "port", "80", "network", "frnt"), Joins("front", "back")), problem.Problem{
		Kind: problem.BadLabel, Service: "bad", Label: "com.docker.lb.network", Value: "frnt",
		Message: "the service is attached to no network of this name; it is attached to back, front",
	})
}

func TestAServiceThatNoProxyCanReachIsToldHowItWouldBe(t *testing.T) {
	expectProblem(t, healthy().Service("bad", labels("hosts", "bad.test", "port", "80"), Publishes(8080, snapshot.PublishHost)).Task("bad", 1, 1, HostPort(8080, 30001)), problem.Problem{
		Kind: problem.NoAddress, Service: "bad", Label: "com.docker.lb.port", Value: "80",
		Message: "its tasks run, but no proxy can reach them: publish the port in host mode (--publish mode=host,target=80), or attach the service to an overlay network that the proxies may use; in host mode it publishes 8080",
	})
}

func TestTheOrderOfWhatSwarmListsNeverShowsInTheTable(t *testing.T) {
	s := NewSwarm(3)
	for i := range 12 {
		name := fmt.Sprintf("app-%d", i)
		s.Service(name, labels("hosts", fmt.Sprintf("h%d.test,shared.test", i), "port", "80"))
		for slot := range 3 {
			s.Task(name, slot+1, slot+1, HostPort(80, uint16(30000+10*i+slot)))
		}
	}
	lists := s.Lists()
	tables, _, _ := route.Build(lists.Snapshot(nil), []route.Cluster{{}})
	want := tables[0].Version()
	for range 20 {
		rand.Shuffle(len(lists.Services), func(i, j int) { lists.Services[i], lists.Services[j] = lists.Services[j], lists.Services[i] })
		rand.Shuffle(len(lists.Tasks), func(i, j int) { lists.Tasks[i], lists.Tasks[j] = lists.Tasks[j], lists.Tasks[i] })
		tables, _, _ = route.Build(lists.Snapshot(nil), []route.Cluster{{}})
		if got := tables[0].Version(); got != want {
			t.Fatalf("another order of the same Swarm gave table %s, want %s", got, want)
		}
	}
}

func TestACredentialIsItsSecretsAndTheOldestServiceThatNamesOneDecides(t *testing.T) {
	s := NewSwarm(1).Secret("one").Secret("two").
		Service("plain", labels("hosts", "a.test", "port", "80")).
		Service("first", labels("hosts", "a.test", "port", "80", "ssl_cert", "one")).
		Service("second", labels("hosts", "a.test", "port", "80", "ssl_cert", "two"))
	tables, _, problems := route.Build(s.Snapshot(), []route.Cluster{{}})
	one := route.Material{Name: "one", ID: "secret-one"}
	if diff := cmp.Diff(&route.Credential{Chain: one, Key: one, Asker: "first"}, tables[0].Hosts[0].Credential); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(problems) != 1 || problems[0].Service != "second" || problems[0].Kind != problem.Conflict {
		t.Errorf("got %v", problems)
	}
}

func TestASecretThatIsReplacedUnderItsNameMakesAnotherTable(t *testing.T) {
	version := func(id string) string {
		snap := NewSwarm(1).Secret("one").Service("a", labels("hosts", "a.test", "port", "80", "ssl_cert", "one")).Snapshot()
		snap.Secrets[0].ID = id
		tables, _, _ := route.Build(snap, []route.Cluster{{}})
		return tables[0].Version()
	}
	if version("x") == version("y") {
		t.Error("the table's version is the same")
	}
}

func TestAReservedSecretIsForNoService(t *testing.T) {
	snap := NewSwarm(1).Secret("authority").Service("a", labels("hosts", "a.test", "port", "80", "ssl_cert", "authority")).Snapshot()
	tables, _, problems := route.Build(snap, []route.Cluster{{}, {Name: "east", Reserved: []string{"authority"}}})
	if tables[0].Hosts[0].Credential != nil || len(tables[0].Hosts[0].Routes) != 1 {
		t.Errorf("got %+v", tables[0].Hosts[0])
	}
	if len(problems) != 1 || problems[0].Kind != problem.NoSecret || !strings.Contains(problems[0].Message, "Interlock's own") {
		t.Errorf("got %v", problems)
	}
}
