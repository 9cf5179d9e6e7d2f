package translation

import (
	"fmt"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
)

// manyServices has services of ten tasks, each with most of the labels.
func manyServices(services int) *fixture.Swarm {
	swarm := fixture.NewSwarm(200)
	for i := range services {
		name := fmt.Sprintf("service-%04d", i)
		swarm.Service(name, map[string]string{
			"com.docker.lb.hosts": name + ".example.com,www." + name + ".example.com", "com.docker.lb.port": "8080",
			"com.docker.lb.context_root": "/app", "com.docker.lb.context_root_rewrite": "true", "com.docker.lb.websocket_endpoints": "/app/ws",
			"com.docker.lb.sticky_session_cookie": fmt.Sprintf("session%d", i%500), "com.docker.lb.max_fails": "3", "com.docker.lb.fail_timeout": "10s",
			"com.docker.lb.redirects": "http://old-" + name + ".example.com,http://" + name + ".example.com",
		})
		for task := range 10 {
			swarm.Task(name, task+1, (i+task)%200+1, fixture.HostPort(8080, uint16(30000+i)))
		}
	}
	return swarm
}

func TestAThousandServicesWithEveryLabelAreAcceptedByNginx(t *testing.T) {
	got := translate(t, manyServices(1000), nil, nil)
	for _, p := range got.problems {
		t.Fatal(p)
	}
	acceptedByNginx(t, got)
}

func BenchmarkThousandServicesOfTenTasks(b *testing.B) {
	snap := manyServices(1000).Snapshot()
	b.Run("build", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			route.Build(snap, []route.Cluster{{}})
		}
	})
	tables, _, _ := route.Build(snap, []route.Cluster{{}})
	b.Run("render", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := new(nginx.Renderer).Render(&tables[0], render.Parameters{Port: 80, ConfigPath: "/etc/nginx/nginx.conf"}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
