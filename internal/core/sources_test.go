package core_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/core"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// stream stands in for a stream that a test lets serve and end.
type stream struct {
	readings chan *snapshot.Snapshot
	broken   chan error
}

func newStream() *stream {
	return &stream{readings: make(chan *snapshot.Snapshot), broken: make(chan error)}
}

func (s *stream) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snap := <-s.readings:
			publish(snap)
		case err := <-s.broken:
			return err
		}
	}
}

// published is what a source under test has published.
type published struct {
	mu   sync.Mutex
	list []*snapshot.Snapshot
}

func (p *published) publish(s *snapshot.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, s)
}

// preferring runs a source that prefers the stream over the Swarm's, and calls f.
func preferring(t *testing.T, f func(*stream, *swarm, *published, core.Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fast, slow, out := newStream(), newSwarm(NewSwarm(1)), new(published)
		source := core.Prefer(fast, slow, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx, out.publish) }()
		synctest.Wait()
		f(fast, slow, out, source)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func (p *published) expect(t *testing.T, what string, want int) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) != want {
		t.Errorf("%s: %d readings have been published, want %d", what, len(p.list), want)
	}
}

func TestTheSourceReadsUntilTheStreamDoes(t *testing.T) {
	preferring(t, func(fast *stream, slow *swarm, out *published, _ core.Source) {
		slow.show()
		time.Sleep(4 * time.Second)
		out.expect(t, "without the stream", 1)
		fast.readings <- new(snapshot.Snapshot)
		out.expect(t, "the stream's first", 2)
		slow.show()
		out.expect(t, "the source's, beside the stream", 2)
	})
}

func TestTheSourceLeavesTheStreamAHeadStart(t *testing.T) {
	preferring(t, func(fast *stream, slow *swarm, out *published, _ core.Source) {
		slow.show()
		time.Sleep(2 * time.Second)
		out.expect(t, "while the stream may begin", 0)
		time.Sleep(2 * time.Second)
		out.expect(t, "without a word of the stream", 1)
	})
	preferring(t, func(fast *stream, slow *swarm, out *published, _ core.Source) {
		slow.show()
		fast.readings <- new(snapshot.Snapshot)
		time.Sleep(time.Minute)
		out.expect(t, "beside the stream", 1)
	})
	preferring(t, func(fast *stream, slow *swarm, out *published, _ core.Source) {
		slow.show()
		fast.broken <- errors.New("there is no socket")
		out.expect(t, "at once where there is no stream", 1)
	})
}

func TestTheSourceReadsWhileTheStreamIsBroken(t *testing.T) {
	preferring(t, func(fast *stream, slow *swarm, out *published, _ core.Source) {
		fast.readings <- new(snapshot.Snapshot)
		fast.broken <- errors.New("the socket is gone")
		slow.show()
		out.expect(t, "the stand-in's", 2)
		time.Sleep(time.Minute)
		fast.readings <- new(snapshot.Snapshot)
		out.expect(t, "the stream's, which is back", 3)
		slow.show()
		out.expect(t, "the source's, beside the stream", 3)
	})
}

func TestTheSourcesHealthCountsOnlyWhileItReads(t *testing.T) {
	preferring(t, func(fast *stream, slow *swarm, _ *published, source core.Source) {
		slow.mu.Lock()
		slow.ill = errors.New("no answer")
		slow.mu.Unlock()
		if source.Health() == nil {
			t.Error("without the stream all is well")
		}
		fast.readings <- new(snapshot.Snapshot)
		synctest.Wait()
		if err := source.Health(); err != nil {
			t.Errorf("with the stream: %v", err)
		}
		fast.broken <- errors.New("the socket is gone")
		synctest.Wait()
		if source.Health() == nil {
			t.Error("without the stream again all is well")
		}
	})
}

// quiet is a stream that ends because it has said nothing for a while.
type quiet struct{ since time.Duration }

func (q quiet) Error() string            { return "the managers do not answer" }
func (q quiet) SilentFor() time.Duration { return q.since }

func TestTheStreamsSilenceCountsBeforeTheSourceHasRead(t *testing.T) {
	preferring(t, func(fast *stream, slow *swarm, _ *published, source core.Source) {
		fast.readings <- new(snapshot.Snapshot)
		fast.broken <- quiet{8 * time.Second}
		time.Sleep(2 * time.Second)
		if err := source.Health(); err != nil {
			t.Errorf("after 10 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		if source.Health() == nil {
			t.Error("12 s without a word, and all is well")
		}
		slow.show()
		synctest.Wait()
		if err := source.Health(); err != nil {
			t.Errorf("once the source has read: %v", err)
		}
	})
}

func TestASwarmThatIsNotReadIsAProblem(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.swarm.mu.Lock()
		r.swarm.ill = errors.New("no answer")
		r.swarm.mu.Unlock()
		r.wait(4 * time.Second)
		r.expectProblem(t, problem.Stale, "Swarm cannot be read")
		r.swarm.mu.Lock()
		r.swarm.ill = nil
		r.swarm.mu.Unlock()
		r.wait(2 * time.Second)
		for _, p := range r.Problems() {
			if p.Kind == problem.Stale {
				t.Errorf("it is still told: %v", p)
			}
		}
	})
}
