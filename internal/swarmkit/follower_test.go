package swarmkit

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/fixture/controlsocket"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// rootOf is how a source is told of the Swarm's authority.
func rootOf(swarm *fixture.Authority) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return swarm.PEM(), nil }
}

// follower is a source that runs, and what it published.
type follower struct {
	t     *testing.T
	ended chan error

	mu        sync.Mutex
	published []*snapshot.Snapshot
}

// hurried doubts a stream sooner than the product does.
var hurried = pace{pulse: 20 * time.Millisecond, silence: 200 * time.Millisecond, check: 50 * time.Millisecond, lag: 100 * time.Millisecond}

func follow(t *testing.T, m *controlsocket.Server, root func(context.Context) ([]byte, error), configs ...string) *follower {
	t.Helper()
	f := &follower{t: t, ended: make(chan error, 1)}
	s := New(Options{Socket: m.Socket, Root: root, Configs: configs, Logger: slog.New(slog.DiscardHandler)})
	s.pace = hurried
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- s.Run(ctx, func(s *snapshot.Snapshot) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.published = append(f.published, s)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

func (f *follower) latest() *snapshot.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.published) == 0 {
		return nil
	}
	return f.published[len(f.published)-1]
}

// waitFor waits until the latest snapshot has exactly these tasks, as ID:state.
func (f *follower) waitFor(want ...string) {
	f.t.Helper()
	eventually(f.t, func() bool {
		s := f.latest()
		if s == nil {
			return false
		}
		var got []string
		for t := range s.AllTasks() {
			got = append(got, t.ID+":"+t.State.String()+">"+t.Desired.String())
		}
		slices.Sort(got)
		return strings.Join(got, " ") == strings.Join(want, " ")
	}, func() any { return f.latest() })
}

// end waits until Run returns by itself.
func (f *follower) end() error {
	f.t.Helper()
	select {
	case err := <-f.ended:
		f.ended <- err
		return err
	case <-time.After(30 * time.Second):
		f.t.Fatal("it has not ended")
		return nil
	}
}

func eventually(t *testing.T, holds func() bool, state func() any) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen; there is %+v", state())
		}
	}
}
