package soak

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// bareNginx is what clients that keep connections lose of nginxes without
// Interlock that are told to reload, and how often each of ours was meanwhile.
type bareNginx struct{ reloads, lost, ours int }

// allowance is how many connections may break that way in as many reloads as ours:
// two counts of one rare race differ by chance.
func (b *bareNginx) allowance() int { return 3 + 2*b.lost*b.ours/max(b.reloads, 1) }

const bareConfiguration = `pid /run/nginx.pid;
worker_processes 1;
events { worker_connections 2048; }
http {
	access_log off;
	upstream app { server %s; }
	server {
		listen 80;
		location / { proxy_set_header Host $host; proxy_pass http://app; }
	}
}
`

// Ports of the load balancers, which Swarm gives to nobody.
const (
	barePort    = "8180"
	bareAppPort = "8181"
)

// reloadEvery is the distance of a bare nginx's reloads.
const reloadEvery = time.Second

// beside is a bare nginx in front of an app on each load balancer, with the load of a
// scenario at the same time. They are containers behind published ports, as the
// proxies and the tasks are: how busy the machine is, and what is on the way,
// decide how long a request may travel to a worker that leaves.
type beside struct {
	load    *load.Load
	reloads int        // may be read once ended has been
	least   chan int   // says after how many to end
	ended   chan error // of a reload that failed; nil: after as many
}

// startBeside has bare nginxes reload again and again until finish.
func startBeside(t *testing.T) *beside {
	t.Helper()
	var addresses []string
	var reloads []func(context.Context) error
	nodes := walkthrough.LoadBalancers()
	for i, name := range nodes {
		app := site.Lab.Node(nodes[(i+1)%len(nodes)])
		startContainer(t, app, "bare-app", bareAppPort+":8080", nil, "--env", "METADATA=bare", site.Image("interlock-demo"))
		node := site.Lab.Node(name)
		configuration := fmt.Appendf(nil, bareConfiguration, net.JoinHostPort(app.Address(), bareAppPort))
		startContainer(t, node, "bare-nginx", barePort+":80", configuration, "--entrypoint", "/usr/sbin/nginx", site.Image("interlock-proxy"), "-g", "daemon off;")
		addresses = append(addresses, net.JoinHostPort(node.Address(), barePort))
		engine := newEngineAPI(t, node)
		reloads = append(reloads, func(ctx context.Context) error {
			return engine.try(ctx, http.MethodPost, "/containers/bare-nginx/kill?signal=HUP", nil, nil)
		})
	}
	o := usualLoad(addresses...)
	o.Routes = []load.Route{{Host: "bare.local", Path: "/ping", Owner: "bare"}}
	waitBare(t, o)
	b := &beside{load: load.Start(o), least: make(chan int, 1), ended: make(chan error, 1)}
	go func() { b.ended <- b.repeat(reloads) }()
	t.Cleanup(func() { b.load.Stop() }) // of a scenario that is broken off
	return b
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
		_, err = n.Docker(t.Context(), "cp", file, name+":/etc/nginx/nginx.conf")
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

// repeat reloads until finish says that it is enough, or nginx has ended.
func (b *beside) repeat(reloads []func(context.Context) error) error {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for least := math.MaxInt; b.reloads < least; {
		select {
		case least = <-b.least:
		case <-ticker.C:
			b.reloads++
			for _, reload := range reloads {
				if err := reload(context.Background()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// finish returns what the bare nginxes lost in at least as many reloads as ours.
func (b *beside) finish(t *testing.T, ours int) *bareNginx {
	t.Helper()
	b.least <- ours
	check(t, <-b.ended)
	time.Sleep(reloadEvery) // the last one's losses
	r := b.load.Stop()
	if r.SentInAll() == 0 || r.Misrouted > 0 {
		t.Errorf("bare nginxes got %d requests, of which %d were misrouted", r.SentInAll(), r.Misrouted)
	}
	return &bareNginx{reloads: b.reloads, lost: broken(r), ours: ours}
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

// reloadsSince counts what each nginx has reloaded.
func reloadsSince(t *testing.T, began time.Time) int {
	t.Helper()
	out, err := site.Logs(t.Context(), "interlock-proxy", "--since", began.Format(time.RFC3339Nano))
	check(t, err)
	return strings.Count(out, "bundle served") / len(proxies())
}

// bareIsMeasured is a test of the measuring itself.
func bareIsMeasured(t *testing.T) {
	const reloads = 2
	bare := startBeside(t).finish(t, reloads)
	if most := reloads * 2 * len(load.Kinds()); bare.reloads < reloads || bare.lost > most {
		t.Errorf("got %+v, want at most a loss for each connection and reload, %d", bare, most)
	}
}
