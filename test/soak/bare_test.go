package soak

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// bareNginx is what clients that keep connections lose of nginxes without
// Interlock that reload when ours do, and how often each of either did.
type bareNginx struct{ reloads, lost, ours int }

// allowance is how many connections may break that way in as many reloads as ours:
// two counts of one rare race differ by chance.
func (b *bareNginx) allowance() int { return 3 + 2*b.lost*b.ours/max(b.reloads, 1) }

// Ports of the load balancers, which Swarm gives to nobody.
const (
	barePort    = "8180"
	bareAppPort = "8181"
)

const bareConfigPath = "/etc/nginx/nginx.conf"

var bareRoute = load.Route{Host: "bare.local", Path: "/ping", Owner: "bare"}

// reloadGap is the least distance of a bare nginx's reloads: as with the proxies, many
// tables make one.
const reloadGap = time.Second

// beside is a bare nginx in front of an app on each load balancer, with the load of a
// scenario at the same time. They are containers behind published ports, as the
// proxies and the tasks are, and all reload when the core publishes a table, by which the
// proxies are about to: how busy the machine is then, and what is on the way, decide how
// long a request may travel to a worker that leaves.
type beside struct {
	load      *load.Load
	stop      context.CancelFunc
	followers sync.WaitGroup
	engines   []engineAPI // of the load balancers

	mu      sync.Mutex
	last    time.Time
	reloads int // of each
}

// startBeside has bare nginxes reload as ours do until finish.
func startBeside(t *testing.T) *beside {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	b := &beside{stop: stop}
	t.Cleanup(func() { // of a scenario that is broken off
		stop()
		b.followers.Wait()
		if b.load != nil {
			b.load.Stop()
		}
	})
	var addresses []string
	nodes := walkthrough.LoadBalancers()
	for i, name := range nodes {
		app, node := site.Lab.Node(nodes[(i+1)%len(nodes)]), site.Lab.Node(name)
		startContainer(t, app, "bare-app", bareAppPort+":8080", nil, "--env", "METADATA="+bareRoute.Owner, site.Image("interlock-demo"))
		configuration := bareConfiguration(t, app)
		startContainer(t, node, "bare-nginx", barePort+":80", configuration, "--entrypoint", "/usr/sbin/nginx", site.Image("interlock-proxy"), "-g", "daemon off;")
		addresses = append(addresses, net.JoinHostPort(node.Address(), barePort))
		b.engines = append(b.engines, newEngineAPI(t, node))
	}
	o := usualLoad(addresses...)
	o.Routes = []load.Route{bareRoute}
	waitBare(t, o)
	b.load = load.Start(o)
	for _, manager := range site.Lab.Managers() {
		engine := newEngineAPI(t, manager)
		b.followers.Go(func() { b.follow(ctx, engine) })
	}
	return b
}

// bareConfiguration is what Interlock would write for a stock nginx in front of the app:
// nginx does as much for a request as in the proxies, and says as much of it.
func bareConfiguration(t *testing.T, app *lab.Node) []byte {
	t.Helper()
	endpoint, err := netip.ParseAddrPort(net.JoinHostPort(app.Address(), bareAppPort))
	check(t, err)
	table := &route.Table{
		Hosts: []route.VirtualHost{{Name: bareRoute.Host, Routes: []route.Route{
			{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{bareRoute.Owner}}},
		}}},
		Upstreams: []route.Upstream{{Name: bareRoute.Owner, Endpoints: []route.Endpoint{{Addr: endpoint, Task: "app"}}}},
	}
	bundle, err := new(nginx.Renderer).Render(table, render.Parameters{
		Port: 80, ConfigPath: bareConfigPath, Agentless: true, Config: map[string]any{"PidPath": "/run/nginx.pid"},
	}, nil)
	check(t, err)
	return bundle.File(bareConfigPath).Data()
}

// follow has all reload at each table that a core on a manager publishes.
func (b *beside) follow(ctx context.Context, manager engineAPI) {
	for ctx.Err() == nil {
		// It fails while no core runs there, or no engine.
		_ = manager.followLogs(ctx, "interlock", time.Now(), func(line string) {
			if strings.Contains(line, "table published") {
				b.reload(ctx)
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// reload counts what it could tell to all, unless it has just done so.
func (b *beside) reload(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.last) < reloadGap {
		return
	}
	b.last = time.Now()
	var group errgroup.Group
	for _, engine := range b.engines {
		group.Go(func() error {
			return engine.try(ctx, http.MethodPost, "/containers/bare-nginx/kill?signal=HUP", nil, nil)
		})
	}
	if group.Wait() == nil {
		b.reloads++
	}
}

// finish returns what the bare nginxes lost since began.
func (b *beside) finish(t *testing.T, began time.Time) *bareNginx {
	t.Helper()
	time.Sleep(settled) // the last reload's losses
	b.stop()
	b.followers.Wait()
	r := b.load.Stop()
	if r.SentInAll() == 0 || r.Misrouted > 0 {
		t.Errorf("bare nginxes got %d requests, of which %d were misrouted", r.SentInAll(), r.Misrouted)
	}
	t.Logf("bare nginxes got %d requests", r.SentInAll())
	return &bareNginx{reloads: b.reloads, lost: broken(r), ours: reloadsSince(t, began)}
}

// startContainer runs one that is no task, until the test ends. Configuration is
// put in the place of nginx.conf; nil: none.
func startContainer(t *testing.T, n *lab.Node, name, publish string, configuration []byte, args ...string) {
	t.Helper()
	_, err := n.Docker(t.Context(), append([]string{"create", "--name", name, "--publish", publish}, args...)...)
	check(t, err)
	t.Cleanup(func() {
		if _, err := n.Docker(context.Background(), "rm", "--force", name); err != nil {
			t.Error(err)
		}
	})
	if configuration != nil {
		file := filepath.Join(t.TempDir(), "nginx.conf")
		check(t, os.WriteFile(file, configuration, 0o644))
		_, err = n.Docker(t.Context(), "cp", file, name+":"+bareConfigPath)
		check(t, err)
	}
	_, err = n.Docker(t.Context(), "start", name)
	check(t, err)
}

// waitBare waits until every one of them has an answer of its app.
func waitBare(t *testing.T, o load.Options) {
	t.Helper()
	o.Limit = time.Second
	for _, proxy := range o.Proxies {
		o.Proxies = []string{proxy}
		eventually(t, "a bare nginx serves", func(context.Context) error {
			if r := load.Start(o).Wait(); r.LostInAll() > 0 {
				return errors.New(r.Losses[0].String())
			}
			return nil
		})
	}
}

// broken counts the kept connections that ended under a request, which is what a
// reload of nginx costs.
func broken(r load.Result) (n int) {
	for _, l := range r.Losses {
		if l.Kind.KeepAlive && l.Broke {
			n++
		}
	}
	return n
}

// reloadsSince counts what each of our proxies has reloaded.
func reloadsSince(t *testing.T, began time.Time) int {
	t.Helper()
	out, err := site.Logs(t.Context(), "interlock-proxy", "--since", began.Format(time.RFC3339Nano))
	check(t, err)
	return strings.Count(out, "bundle served") / len(proxies())
}
