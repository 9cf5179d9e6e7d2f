package core_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/core"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// standing runs a standalone in a container on what s shows, and returns the
// tables that it was to serve once all is quiet.
func standing(t *testing.T, container string, s ...*Swarm) []route.Table {
	t.Helper()
	var tables []route.Table
	stands(t, core.StandaloneOptions{Container: container, Serve: func(table *route.Table) (core.Served, error) {
		tables = append(tables, *table)
		return core.Served{}, nil
	}}, s...)
	return tables
}

// stands runs a standalone on one reading after the other, until all is quiet.
func stands(t *testing.T, o core.StandaloneOptions, s ...*Swarm) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source := newSwarm(s[0])
		o.Source, o.PollInterval, o.Logger = source, 3*time.Second, slog.New(slog.NewTextHandler(t.Output(), nil))
		alone := core.NewStandalone(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- alone.Run(ctx) }()
		for i := range s {
			source.mu.Lock()
			source.lists = s[i].Lists()
			source.mu.Unlock()
			source.show()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func servedAtDemo() map[string]string {
	return map[string]string{"com.docker.lb.hosts": "demo.local", "com.docker.lb.port": "8080"}
}

func endpointsOf(t *testing.T, tables []route.Table) []string {
	t.Helper()
	if len(tables) == 0 {
		t.Fatal("nothing was served")
	}
	var list []string
	for _, u := range tables[len(tables)-1].Upstreams {
		for _, e := range u.Endpoints {
			list = append(list, e.Addr.String())
		}
	}
	return list
}

func TestAStandaloneReachesAppsOverTheNetworksOfItsOwnTask(t *testing.T) {
	inside := func(task *snapshot.Task) { task.ContainerID = "abc" }
	s := NewSwarm(1).Network("apps").
		Service("demo", servedAtDemo(), Joins("apps")).Task("demo", 1, 1, On("apps", "10.0.1.5")).
		Service("edge", nil, Joins("apps")).Task("edge", 1, 1, On("apps", "10.0.1.9"), inside)
	if got := endpointsOf(t, standing(t, "abc", s)); !slices.Equal(got, []string{"10.0.1.5:8080"}) {
		t.Errorf("got %v", got)
	}
}

func TestAStandaloneIsToldOnceHowLongItMayTakeToEnd(t *testing.T) {
	inside := func(task *snapshot.Task) { task.ContainerID = "abc" }
	with := func(grace *time.Duration) *Swarm {
		return NewSwarm(1).Service("edge", nil, func(s *snapshot.Service) { s.Spec.StopGracePeriod = grace }).Task("edge", 1, 1, inside)
	}
	minute := time.Minute
	for name, test := range map[string]struct {
		readings []*Swarm
		want     []time.Duration
	}{
		"Docker's own":                {[]*Swarm{with(nil)}, []time.Duration{10 * time.Second}},
		"the service's":               {[]*Swarm{with(&minute)}, []time.Duration{minute}},
		"the next container's is not": {[]*Swarm{with(&minute), with(nil)}, []time.Duration{minute}},
	} {
		var told []time.Duration
		stands(t, core.StandaloneOptions{
			Container: "abc", Grace: func(d time.Duration) { told = append(told, d) },
			Serve: func(*route.Table) (core.Served, error) { return core.Served{}, nil },
		}, test.readings...)
		if !slices.Equal(told, test.want) {
			t.Errorf("%s: told %v, want %v", name, told, test.want)
		}
	}
}

func TestAStandaloneOutsideOfSwarmReachesAppsByHostPorts(t *testing.T) {
	s := NewSwarm(1).Service("demo", servedAtDemo()).Task("demo", 1, 1, HostPort(8080, 32768))
	for _, container := range []string{"", "unknown to Swarm"} {
		if got := endpointsOf(t, standing(t, container, s)); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	}
}

func TestAnEmptyReadingThatPassesTakesNothingFromAStandalone(t *testing.T) {
	s := NewSwarm(1).Service("demo", servedAtDemo()).Task("demo", 1, 1, HostPort(8080, 32768))
	for _, table := range standing(t, "", s, NewSwarm(1), s) {
		if len(table.Hosts) != 1 {
			t.Errorf("served: %+v", table)
		}
	}
}

func TestAStandaloneAsksByItselfWhoAcceptsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newSwarm(withApp())
		var listens atomic.Bool
		served := make(chan route.Table, 10)
		alone := core.NewStandalone(core.StandaloneOptions{
			Source: source, PollInterval: 3 * time.Second, Logger: slog.New(slog.DiscardHandler),
			Knock: func(_ context.Context, a netip.AddrPort) bool { return a == lateApp && listens.Load() },
			Serve: func(table *route.Table) (core.Served, error) {
				served <- *table
				return core.Served{}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- alone.Run(ctx) }()
		source.show()
		<-served
		running{swarm: source}.begin()
		if got := endpointsOf(t, []route.Table{<-served}); len(got) != 1 {
			t.Errorf("before the task listens: %v", got)
		}
		listens.Store(true)
		if got := endpointsOf(t, []route.Table{<-served}); len(got) != 2 {
			t.Errorf("once the task listens: %v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
