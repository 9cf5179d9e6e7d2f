package docker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// polling runs a poller whose readings are read's, and calls f.
func polling(t *testing.T, read func(context.Context) (*snapshot.Snapshot, error), f func(*health)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := new(health)
		p := poller{
			read: read, readTasks: read, watch: func(ctx context.Context, _ func()) { <-ctx.Done() },
			every: DefaultPollInterval, log: slog.New(slog.DiscardHandler), health: h,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.run(ctx, func(*snapshot.Snapshot) {})
		}()
		f(h)
		cancel()
		<-ended
		if err := h.now(); err != nil {
			t.Errorf("once it does not read any more: %v", err)
		}
	})
}

func TestAnAPIThatHangsIsNoticedWithinTenSeconds(t *testing.T) {
	var hangs atomic.Bool
	polling(t, func(ctx context.Context) (*snapshot.Snapshot, error) {
		if hangs.Load() {
			<-ctx.Done() // as an API that takes a request and never answers
			return nil, ctx.Err()
		}
		return oneService(snapshot.UpdateNone, taskAt("now", 1, 1, snapshot.TaskRunning, snapshot.TaskRunning)), nil
	}, func(h *health) {
		time.Sleep(time.Minute)
		if err := h.now(); err != nil {
			t.Errorf("while all is well: %v", err)
		}
		hangs.Store(true)
		time.Sleep(10 * time.Second)
		if err := h.now(); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("after ten seconds: %v", err)
		}
	})
}

func TestAReadingThatFailsOnceIsNoIllness(t *testing.T) {
	var fail atomic.Bool
	polling(t, func(context.Context) (*snapshot.Snapshot, error) {
		if fail.Load() {
			return nil, errors.New("500")
		}
		return oneService(snapshot.UpdateNone, taskAt("now", 1, 1, snapshot.TaskRunning, snapshot.TaskRunning)), nil
	}, func(h *health) {
		time.Sleep(time.Minute)
		fail.Store(true)
		time.Sleep(4 * time.Second)
		if err := h.now(); err != nil {
			t.Errorf("after one failure: %v", err)
		}
		time.Sleep(6 * time.Second)
		if err := h.now(); err == nil || !strings.Contains(err.Error(), "500") {
			t.Errorf("after ten seconds of failures: %v", err)
		}
		fail.Store(false)
		time.Sleep(10 * time.Second)
		if err := h.now(); err != nil {
			t.Errorf("once it is read again: %v", err)
		}
	})
}
