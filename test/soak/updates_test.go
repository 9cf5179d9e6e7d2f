package soak

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/load"
)

// diesAtOnce makes an app end without a word when it is told to: what comes to
// it then is lost.
var diesAtOnce = []string{"--stop-signal", "SIGKILL"}

// often is how many times something is done, in the two forms.
func often(inFull, inShort int) int {
	if full {
		return inFull
	}
	return inShort
}

// rollingUpdates replaces all tasks, one after the other, stop-first and
// start-first.
func rollingUpdates(t *testing.T, i *installation) load.Result {
	const replicas = 4
	i.createDemo(t, replicas, diesAtOnce...)
	l := startLoad(t)
	for range often(10, 1) {
		for _, order := range []string{"stop-first", "start-first"} {
			docker(t, "service", "update", "--detach=false", "--quiet", "--force", "--update-order", order,
				"--update-parallelism", "1", "--update-monitor", "1ms", "demo")
		}
	}
	time.Sleep(settled)
	r := l.Stop()
	if n := len(r.Tasks); n < (2*often(10, 1)+1)*replicas {
		t.Errorf("%d tasks have answered: not all were replaced, or not all were asked", n)
	}
	return r
}

// settled is how long the last thing that was done is watched.
const settled = 3 * time.Second

// scaling has most tasks of an app come and go.
func scaling(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 1, diesAtOnce...)
	l := startLoad(t)
	for n := range often(60, 4) {
		replicas := []int{10, 1}[n%2]
		docker(t, "service", "scale", "--detach", fmt.Sprintf("demo=%d", replicas))
		time.Sleep(5 * time.Second)
	}
	time.Sleep(settled)
	r := l.Stop()
	if len(r.Tasks) < 5 {
		t.Errorf("%d tasks have answered: nothing was scaled", len(r.Tasks))
	}
	return r
}

// runningRequests replaces the tasks under requests that take almost as long as
// a task may take to stop.
func runningRequests(t *testing.T, i *installation) load.Result {
	const (
		requests = 200
		takes    = 8 * time.Second
	)
	i.createDemo(t, 4, "--stop-grace-period", "10s")
	l := startLoad(t, func(o *load.Options) {
		o.Kinds, o.Workers = load.Kinds()[:2], requests/len(o.Proxies)/2
		o.Routes = []load.Route{{Host: demo.Host, Path: "/slow?for=" + takes.String(), Owner: demo.Owner}}
		o.Timeout = 3 * takes
	})
	time.Sleep(time.Second)
	for range often(3, 1) {
		docker(t, "service", "update", "--detach=false", "--quiet", "--force", "--update-order", "start-first",
			"--update-parallelism", "2", "--update-monitor", "1ms", "demo")
	}
	return l.Stop()
}

// lateListeners starts tasks that nobody can connect to for a while.
func lateListeners(t *testing.T, i *installation) load.Result {
	check(t, site.CreateApp(t.Context(), "demo", "demo.local", append([]string{"--replicas", "2"}, onWorkers...)...))
	i.waitServed(t, demo, 2)
	l := startLoad(t)
	docker(t, "service", "update", "--detach=false", "--quiet", "--args", "--listen-after=3s", "--update-order", "start-first",
		"--update-monitor", "1ms", "--update-delay", "6s", "demo")
	for n := range often(10, 2) {
		docker(t, "service", "scale", "--detach", fmt.Sprintf("demo=%d", []int{4, 2}[n%2]))
		time.Sleep(6 * time.Second)
	}
	return l.Stop()
}

// live measures how long a change of labels takes until both proxies follow it.
func (i *installation) live(t *testing.T, host string) time.Duration {
	t.Helper()
	began := time.Now()
	docker(t, "service", "update", "--detach", "--label-add", "com.docker.lb.hosts=demo.local,"+host, "demo")
	i.waitFollowed(t, host)
	return time.Since(began)
}

// waitFollowed waits until every proxy answers for a host.
func (i *installation) waitFollowed(t *testing.T, host string) {
	t.Helper()
	eventually(t, host+" is served", func(context.Context) error {
		r := load.Start(load.Options{
			Proxies: proxies(), Routes: []load.Route{{Host: host, Path: "/ping", Owner: "demo"}}, Kinds: load.Kinds()[:1],
			Every: every, Timeout: 5 * time.Second, Limit: every / 2,
		}).Wait()
		if r.LostInAll() > 0 {
			return fmt.Errorf("%s", r.Losses[0])
		}
		return nil
	})
}
