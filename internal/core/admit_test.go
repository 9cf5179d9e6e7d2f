package core_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// lateApp is where the second task of withApp's demo listens, once it does.
var lateApp = netip.MustParseAddrPort("10.0.0.2:32701")

func withApp() *Swarm {
	return cluster().Service("demo", map[string]string{"com.docker.lb.hosts": "demo.local", "com.docker.lb.port": "8080"}).
		Task("demo", 1, 1, HostPort(8080, 32700)).
		Task("demo", 2, 2, HostPort(8080, lateApp.Port()), States(snapshot.TaskStarting, snapshot.TaskRunning))
}

// begin lets demo's second task run.
func (r running) begin() {
	r.swarm.change(func(s *snapshot.Lists) {
		i := slices.IndexFunc(s.Tasks, func(t snapshot.Task) bool { return t.ID == "task-demo-2" })
		s.Tasks[i].State = snapshot.TaskRunning
	})
	r.wait(100 * time.Millisecond)
}

// used says whether the second task is one of demo's endpoints.
func (r running) used(t *testing.T) bool {
	t.Helper()
	p, _ := r.Tables().Publication("")
	if p.Table == nil || len(p.Table.Upstreams) != 1 || len(p.Table.Upstreams[0].Endpoints) == 0 {
		t.Fatalf("the table is %+v", p.Table)
	}
	return len(p.Table.Upstreams[0].Endpoints) == 2
}

func (d *deliverer) refuse(addresses ...netip.AddrPort) {
	d.mu.Lock()
	d.refusing = map[netip.AddrPort]bool{}
	for _, a := range addresses {
		d.refusing[a] = true
	}
	d.mu.Unlock()
	d.report()
}

func TestATaskIsAnEndpointOnceItAcceptsConnections(t *testing.T) {
	run(t, withApp(), config(), func(r running) {
		r.deliverer.refuse(lateApp)
		r.begin()
		if r.used(t) || !slices.Equal(r.deliverer.asked, []netip.AddrPort{lateApp}) {
			t.Errorf("it is used before it accepts, or proxies are not asked about it: %v", r.deliverer.asked)
		}
		r.wait(3 * time.Second)
		if r.used(t) {
			t.Error("it is used before it accepts")
		}
		r.deliverer.refuse()
		r.wait(100 * time.Millisecond)
		if !r.used(t) {
			t.Error("it is not used although it accepts")
		}
		r.settle()
		if len(r.deliverer.asked) != 0 {
			t.Errorf("proxies are still asked about %v", r.deliverer.asked)
		}
	})
}

func TestATaskThatNeverAcceptsIsUsedInTheEndAndNamed(t *testing.T) {
	run(t, withApp(), config(), func(r running) {
		r.deliverer.refuse(lateApp)
		r.begin()
		r.wait(admission.Limit)
		if !r.used(t) {
			t.Error("it is not used")
		}
		r.wait(10 * time.Second)
		r.expectProblem(t, problem.NotAccepting, lateApp.String())
	})
}

func TestATaskThatNoProxyCanAskIsUsedSoon(t *testing.T) {
	run(t, withApp(), config(), func(r running) {
		r.deliverer.mute = true
		r.begin()
		r.wait(admission.UnaskedLimit)
		if !r.used(t) {
			t.Error("it is not used")
		}
	})
}

func TestBehindProxiesWithoutAnAgentTasksAreUsedAtOnce(t *testing.T) {
	agentless := config()
	agentless.Extensions[0].ProxyImage = "nginx:alpine"
	run(t, withApp(), agentless, func(r running) {
		r.deliverer.mute = true
		r.begin()
		if !r.used(t) {
			t.Error("it is not used")
		}
	})
}
