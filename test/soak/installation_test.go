package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// controlSocket is the mount by which the core follows Swarm in real time.
const controlSocket = "src=/var/run/docker/swarm,dst=/var/run/docker/swarm,type=bind"

// onWorkers keeps apps away from the managers and from the proxies, which are
// switched off by themselves.
var onWorkers = []string{"--constraint", "node.role==worker", "--constraint", "node.labels.nodetype!=loadbalancer"}

// The apps that nothing is done to. They share a host: who answers for the
// other's path is misrouted.
var (
	shop  = load.Route{Host: "shop.local", Path: "/ping", Owner: "shop"}
	stock = load.Route{Host: "shop.local", Path: "/stock/ping", Owner: "stock"}
	demo  = load.Route{Host: "demo.local", Path: "/ping", Owner: "demo"}
)

// installation is Interlock on the lab, with one kind of proxy.
type installation struct{ kind string }

// install puts Interlock on an empty Swarm, by its walkthrough and with the
// control socket, and two apps.
func install(t *testing.T, kind string) *installation {
	t.Helper()
	ctx := t.Context()
	check(t, site.Clear(ctx))
	check(t, site.SetLoadBalancersAside(ctx))
	check(t, site.StoreConfig(ctx, walkthrough.ConfigName, site.ConfigFor(kind)))
	check(t, site.CreateCore(ctx, walkthrough.ConfigName, "--mount", controlSocket))
	twice := append([]string{"--replicas", "2", "--replicas-max-per-node", "1"}, onWorkers...)
	check(t, site.CreateApp(ctx, "shop", "shop.local", twice...))
	under := []string{"--label", "com.docker.lb.context_root=/stock", "--label", "com.docker.lb.context_root_rewrite=true"}
	check(t, site.CreateApp(ctx, "stock", "shop.local", append(under, twice...)...))
	i := &installation{kind: kind}
	i.waitServed(t, shop, 2)
	i.waitServed(t, stock, 2)
	return i
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := site.Docker(context.Background(), args...)
	check(t, err)
	return out
}

func eventually(t testing.TB, what string, holds func(context.Context) error) {
	t.Helper()
	if err := lab.Eventually(t.Context(), patience, holds); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// createDemo deploys the app that a scenario is about, and waits until all its
// tasks are served.
func (i *installation) createDemo(t *testing.T, replicas int, more ...string) {
	t.Helper()
	args := append([]string{"--replicas", fmt.Sprint(replicas)}, onWorkers...)
	check(t, site.CreateApp(t.Context(), "demo", "demo.local", append(args, more...)...))
	i.waitServed(t, demo, replicas)
}

// proxies are the addresses that clients use.
func proxies() (addrs []string) {
	for _, node := range walkthrough.LoadBalancers() {
		addrs = append(addrs, net.JoinHostPort(site.Lab.Node(node).Address(), "80"))
	}
	return addrs
}

// every is a worker's pause between two requests: with four kinds of requests
// and two proxies, 320 requests a second.
const every = 25 * time.Millisecond

func usualLoad(proxies ...string) load.Options {
	return load.Options{Proxies: proxies, Routes: []load.Route{demo, shop, stock}, Every: every, Timeout: 10 * time.Second, Limit: 30 * time.Minute}
}

// startLoad asks for all apps through both proxies, until the test ends.
func startLoad(t *testing.T, change ...func(*load.Options)) *load.Load {
	t.Helper()
	o := usualLoad(proxies()...)
	for _, c := range change {
		c(&o)
	}
	l := load.Start(o)
	t.Cleanup(func() { l.Stop() }) // of a scenario that is broken off
	return l
}

// waitServed waits until each proxy has served a route with so many tasks for a
// second, and with nobody else's.
func (i *installation) waitServed(t *testing.T, route load.Route, tasks int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s%s is served by %d tasks", route.Host, route.Path, tasks), func(context.Context) error {
		for _, proxy := range proxies() {
			r := load.Start(load.Options{
				Proxies: []string{proxy}, Routes: []load.Route{route}, Kinds: load.Kinds()[:1],
				Every: every, Timeout: 5 * time.Second, Limit: time.Second,
			}).Wait()
			if r.LostInAll() > 0 {
				return errors.New(r.Losses[0].String())
			}
			if r.Misrouted > 0 || len(r.Tasks) != tasks {
				return fmt.Errorf("%s: %d tasks answer, %d requests were misrouted", proxy, len(r.Tasks), r.Misrouted)
			}
		}
		return nil
	})
}

// restore puts the cluster back to what install left.
func (i *installation) restore(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var off []*lab.Node
	for _, n := range site.Lab.Nodes() {
		if !n.Running() {
			off = append(off, n)
			continue
		}
		for _, err := range []error{n.Resume(ctx), n.Heal(ctx), n.LinkUp(ctx)} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	if err := switchOn(ctx, off); err != nil {
		t.Error(err)
	}
	if err := site.Lab.WaitConverged(ctx, patience); err != nil {
		t.Error(err)
	}
	for name := range strings.FieldsSeq(docker(t, "service", "ls", "--format", "{{.Name}}")) {
		switch name {
		case "interlock", "interlock-ext", "interlock-proxy", "shop", "stock":
		default:
			docker(t, "service", "rm", name)
		}
	}
}

// task is a running one of a service.
type task struct{ id, node, container string }

// tasksOf lists the tasks that run and shall.
func tasksOf(ctx context.Context, service string) ([]task, error) {
	out, err := site.Docker(ctx, "service", "ps", "--no-trunc", "--filter", "desired-state=running", "--format", "{{.ID}} {{.Node}} {{.CurrentState}}", service)
	if err != nil {
		return nil, err
	}
	var all []task
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "Running" {
			continue
		}
		container, err := site.Docker(ctx, "inspect", "-f", "{{.Status.ContainerStatus.ContainerID}}", f[0])
		if err != nil {
			return nil, err
		}
		all = append(all, task{f[0], f[1], container})
	}
	return all, nil
}

// theTask is the only one of a service.
func theTask(t *testing.T, service string) (only task) {
	t.Helper()
	eventually(t, "one task of "+service+" runs", func(ctx context.Context) error {
		all, err := tasksOf(ctx, service)
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d run", len(all))
		}
		if err == nil {
			only = all[0]
		}
		return err
	})
	return only
}

// signal sends one to the first process of a task.
func (k task) signal(t *testing.T, name string) {
	t.Helper()
	_, err := site.Lab.Node(k.node).Docker(t.Context(), "kill", "--signal", name, k.container)
	check(t, err)
}
