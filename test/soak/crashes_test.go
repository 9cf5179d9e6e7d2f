package soak

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/load"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// followLimit is how soon a change is live once whoever was gone is back.
const followLimit = 5 * time.Second

// controlPlaneGone kills core and extension, and has either stand still.
func controlPlaneGone(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 2)
	l := startLoad(t)
	for n, service := range []string{"interlock", "interlock-ext"} {
		before := theTask(t, service)
		before.signal(t, "KILL")
		eventually(t, service+" runs again", func(ctx context.Context) error {
			now, err := tasksOf(ctx, service)
			if err == nil && (len(now) != 1 || now[0].id == before.id) {
				err = fmt.Errorf("%d tasks run", len(now))
			}
			return err
		})
		i.mustFollow(t, service+" was killed", fmt.Sprintf("killed-%d.local", n))
		stopped := theTask(t, service)
		stopped.signal(t, "STOP")
		time.Sleep(time.Duration(often(60, 6)) * time.Second)
		stopped.signal(t, "CONT")
		i.mustFollow(t, service+" stood still", fmt.Sprintf("stopped-%d.local", n))
	}
	return l.Stop()
}

// mustFollow changes something and sees how soon it is live.
func (i *installation) mustFollow(t *testing.T, after, host string) {
	t.Helper()
	within(t, "after "+after+" a change was live", i.live(t, host), followLimit)
}

// within reports how long something took, and fails where that was too long. The
// short form runs beside other tests on any machine, and says nothing of time.
func within(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	t.Logf("%s in %s", what, took.Round(time.Millisecond))
	if full && took > limit {
		t.Errorf("%s in %s, want %s", what, took, limit)
	}
}

// restartLimit is how soon a proxy serves again, from the start of its container.
const restartLimit = 2 * time.Second

// proxyKilled kills one proxy while nobody is there to deliver to the next one.
func proxyKilled(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 2)
	docker(t, "service", "scale", "--detach=false", "interlock=0")
	defer docker(t, "service", "scale", "--detach=false", "interlock=1")
	l := startLoad(t, func(o *load.Options) { o.Failover = true })
	time.Sleep(time.Second)
	node := walkthrough.LoadBalancers()[0]
	victim, err := proxyOn(t.Context(), node)
	check(t, err)
	victim.signal(t, "KILL")
	began := time.Now()
	eventually(t, "the proxy is gone", func(ctx context.Context) error {
		if _, _, err := site.Ping(ctx, node, demo.Host); err == nil {
			return fmt.Errorf("it answers")
		}
		return nil
	})
	eventually(t, "another proxy serves", func(ctx context.Context) error {
		_, _, err := site.Ping(ctx, node, demo.Host)
		return err
	})
	answered := time.Now()
	next, err := proxyOn(t.Context(), node)
	check(t, err)
	t.Logf("a proxy served again %s after the kill", answered.Sub(began).Round(time.Millisecond))
	within(t, "after the start of its container it served", answered.Sub(started(t, next)), restartLimit)
	time.Sleep(settled)
	return l.Stop()
}

func proxyOn(ctx context.Context, node string) (task, error) {
	all, err := tasksOf(ctx, "interlock-proxy")
	for _, k := range all {
		if k.node == node {
			return k, nil
		}
	}
	return task{}, fmt.Errorf("no proxy runs on %s: %w", node, err)
}

func started(t *testing.T, k task) time.Time {
	t.Helper()
	out, err := site.Lab.Node(k.node).Docker(t.Context(), "inspect", "-f", "{{.State.StartedAt}}", k.container)
	check(t, err)
	at, err := time.Parse(time.RFC3339Nano, out)
	check(t, err)
	return at
}

// lostInFlight allows what was on its way to a proxy that was killed. A process that
// is killed takes some time to die, and the kernel accepts connections for it
// meanwhile: a worker of the load may meet it twice, but finds the other proxy then.
func lostInFlight(t *testing.T, _ *installation, r load.Result, _ *bareNginx) {
	t.Helper()
	if most := 2 * len(load.Kinds()); r.LostInAll() > most {
		t.Errorf("%d requests were lost, want those in flight at most, %d", r.LostInAll(), most)
	}
}
