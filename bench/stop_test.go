package bench

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	dockerapi "github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// askLonger is how long a task is asked for after it has been told to stop. It
// gets its stop signal about a second after that.
const askLonger = 3 * time.Second

// stopOne stops one of the demo app's two tasks.
func (p *propagation) stopOne(b *testing.B, stops *stops) {
	b.Helper()
	waitForTasks(b, "demo", 2)
	docker(b, "service", "scale", "--detach", "demo=1")
	instance, told := stops.next(b)
	for _, seen := range askUntil(b, "demo.local", instance, told.Add(askLonger)) {
		p.stray = append(p.stray, max(0, seen.last.Sub(told)))
		p.failed += seen.failed
	}
	p.stopping.follow(b, told)
}

// stops tells of tasks that are told to stop, as SwarmKit announces it.
type stops struct{ told chan stopped }

type stopped struct {
	instance string
	at       time.Time
}

func watchStops(b *testing.B) *stops {
	b.Helper()
	manager, err := site.Manager()
	check(b, err)
	client, err := dockerapi.Dial(b.Context(), dockerapi.Options{URL: "unix://" + manager.Socket()})
	check(b, err)
	kit := swarmkit.New(swarmkit.Options{
		Socket: filepath.Join(manager.RunDir(), "docker", "swarm", "control.sock"), Root: client.TrustRoot, Logger: slog.New(slog.DiscardHandler),
	})
	s := &stops{told: make(chan stopped, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	known := map[string]bool{}
	go func() { ended <- kit.Run(ctx, func(snap *snapshot.Snapshot) { s.look(snap, known) }) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		client.Close()
	})
	return s
}

// look finds tasks that run still, and were not known as told to stop.
func (s *stops) look(snap *snapshot.Snapshot, known map[string]bool) {
	now := time.Now()
	for t := range snap.AllTasks() {
		if t.State == snapshot.TaskRunning && t.Desired > snapshot.TaskRunning && !known[t.ID] && len(t.ContainerID) > 12 {
			known[t.ID] = true
			select {
			case s.told <- stopped{t.ContainerID[:12], now}:
			default: // settling has told many stops that nobody waits for
			}
		}
	}
}

// next drops what was told before the call that it waits for.
func (s *stops) next(b *testing.B) (instance string, at time.Time) {
	b.Helper()
	for {
		select {
		case one := <-s.told:
			if time.Since(one.at) < 2*time.Second {
				return one.instance, one.at
			}
		case <-time.After(patience):
			b.Fatal("no task has been told to stop")
		}
	}
}

// asked is what came of asking one proxy.
type asked struct {
	last   time.Time // when the last request that the instance answered began
	failed int
}

// askUntil asks all proxies until then, as often as it can.
func askUntil(b *testing.B, host, instance string, until time.Time) []asked {
	b.Helper()
	nodes := walkthrough.LoadBalancers()
	results := make([]asked, len(nodes))
	var group errgroup.Group
	for i, node := range nodes {
		group.Go(func() error {
			for time.Now().Before(until) {
				began := time.Now()
				switch _, pong, err := site.Ping(b.Context(), node, host); {
				case err != nil:
					results[i].failed++
				case pong.Instance == instance:
					results[i].last = began
				}
				time.Sleep(askEvery)
			}
			return b.Context().Err()
		})
	}
	check(b, group.Wait())
	return results
}
