package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	dockerapi "github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit"
)

// observer is one source at one manager, and what it published last.
type observer struct {
	name string
	run  func(context.Context, func(*snapshot.Snapshot)) error

	mu     sync.Mutex
	latest *snapshot.Snapshot
	ended  error // why run returned last
}

func (o *observer) seen() (latest *snapshot.Snapshot, ended error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest, o.ended
}

// observe runs the source until ctx ends, and again whenever it gives up.
func (o *observer) observe(ctx context.Context) {
	for ctx.Err() == nil {
		err := o.run(ctx, func(s *snapshot.Snapshot) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.latest = s
		})
		o.mu.Lock()
		o.ended = err
		o.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// conformance are both kinds of source at all managers.
type conformance struct {
	t         *testing.T
	clients   []*dockerapi.Client
	kits      []*swarmkit.Source
	observers []*observer
}

func observeSwarm(t *testing.T) *conformance {
	t.Helper()
	c := &conformance{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, client := range c.clients {
			client.Close()
		}
	})
	for _, n := range site.Lab.Managers() {
		client, err := dockerapi.Dial(ctx, dockerapi.Options{URL: "unix://" + n.Socket(), PollInterval: time.Second})
		check(t, err)
		c.clients = append(c.clients, client)
		kit := swarmkit.New(swarmkit.Options{
			Socket: filepath.Join(n.RunDir(), "docker", "swarm", "control.sock"), Root: client.TrustRoot, Logger: slog.New(slog.DiscardHandler),
		})
		c.kits = append(c.kits, kit)
		c.observers = append(
			c.observers,
			&observer{name: "the Docker API at " + n.Name(), run: client.Run},
			&observer{name: "SwarmKit's socket at " + n.Name(), run: kit.Run},
		)
	}
	for _, o := range c.observers {
		running.Go(func() { o.observe(ctx) })
	}
	return c
}

// agree waits until all sources see what a new reading sees, and that is what
// the step before was to bring.
func (c *conformance) agree(step string, as func(*snapshot.Snapshot) error) {
	c.t.Helper()
	began := time.Now()
	eventually(c.t, "all sources agree after: "+step, func(ctx context.Context) error {
		now, err := c.read(ctx)
		if err != nil {
			return err
		}
		if err := as(now); err != nil {
			return err
		}
		for _, o := range c.observers {
			latest, ended := o.seen()
			if diff := cmp.Diff(now, latest, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				return fmt.Errorf("%s differs; it ended last with: %w (-the Docker API now, +its latest):\n%s", o.name, ended, lastLines(diff, 40))
			}
		}
		return nil
	})
	c.t.Logf("%s: agreed after %s", step, time.Since(began).Round(time.Millisecond))
}

// read asks the first manager that answers.
func (c *conformance) read(ctx context.Context) (*snapshot.Snapshot, error) {
	err := errors.New("there is no manager")
	for i, n := range site.Lab.Managers() {
		if !n.Running() {
			continue
		}
		var s *snapshot.Snapshot
		if s, err = c.clients[i].Snapshot(ctx); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func lastLines(text string, count int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-count):], "\n")
}
