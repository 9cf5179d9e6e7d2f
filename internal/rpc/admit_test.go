package rpc_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// From Swarm's word to nginx's answers, over the real wire: the agent beside nginx
// is asked whether the task accepts connections.
func TestAnAppThatListensLateCostsNoRequest(t *testing.T) {
	s, swarm := newSite(t)
	app := newApp(t)
	late := vacant(t)
	show := func(second ...func(*snapshot.Task)) {
		labels := map[string]string{"com.docker.lb.hosts": "demo.local", "com.docker.lb.port": "80", "com.docker.lb.service_cluster": "us-east"}
		snap := swarm().Service("demo", labels).
			Task("demo", 1, 1, fixture.HostPort(80, netip.MustParseAddrPort(app.Listener.Addr().String()).Port())).
			Task("demo", 2, 1, append(second, fixture.HostPort(80, late.Port()))...).Snapshot()
		for i := range snap.Nodes {
			snap.Nodes[i].Addr = netip.MustParseAddr("127.0.0.1")
		}
		s.swarm.set(snap)
	}
	show(fixture.States(snapshot.TaskStarting, snapshot.TaskRunning))
	s.serves("demo.local")
	var sent, lost atomic.Int32
	stop := background(t, func(ctx context.Context) error {
		for ctx.Err() == nil {
			sent.Add(1)
			if err := s.get("demo.local"); err != nil {
				lost.Add(1)
				t.Logf("lost: %v", err)
			}
		}
		return nil
	})
	before := s.endpoints()
	show()
	time.Sleep(500 * time.Millisecond) // for which the app does not listen
	if got := s.endpoints(); got != before {
		t.Errorf("there are %d endpoints before the app listens, were %d", got, before)
	}
	var reached atomic.Int32
	second := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = w.Write([]byte("app"))
	}))
	second.Listener.Close()
	second.Listener = listen(t, late.String())
	second.Start()
	t.Cleanup(second.Close)
	eventually(t, "the late task gets requests", func() bool { return reached.Load() > 0 })
	stop()
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), sent.Load())
	}
}

// endpoints are those of the newest table.
func (s *site) endpoints() (count int) {
	p, _ := s.core.Tables().Publication("us-east")
	for _, u := range p.Table.Upstreams {
		count += len(u.Endpoints)
	}
	return count
}
