package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Stream reads Swarm faster than a Source, for as long as it can.
type Stream interface {
	// Run publishes complete readings until ctx ends, which is no error, or until
	// it cannot go on: what it published last is out of date then.
	Run(ctx context.Context, publish func(*snapshot.Snapshot)) error
}

// How long it takes until a stream that ended is tried again, at first and at
// most. While it cannot be had the source reads.
const (
	streamAgainFirst = 500 * time.Millisecond
	streamAgainMost  = 10 * time.Second
)

// headStart is how long the stream may take to say something at first before the
// source is read as well: in a large Swarm both readings take seconds of CPU time
// and hundreds of megabytes, on the managers' side too, and the stream's is wanted.
const headStart = 3 * time.Second

// unheard is how long nothing may have been heard of Swarm, by whatever way, until
// that is told.
const unheard = 11 * time.Second

// silence is the error of a stream that had not said anything for a while when it
// ended.
type silence interface {
	error
	SilentFor() time.Duration
}

// Prefer returns a source that reads through the stream while that lasts, and
// through the source while it does not, which at the start shows after a few
// seconds. A reading on demand is the source's,
// which so confirms what the stream says.
func Prefer(stream Stream, source Source, log *slog.Logger) Source {
	return &preferred{Source: source, stream: stream, log: log}
}

type preferred struct {
	Source
	stream Stream
	log    *slog.Logger

	mu   sync.Mutex
	live bool // whether the stream is read
	// heard is when the stream said something last; zero once the source has read.
	heard time.Time
}

// Run publishes what either of the two reads, never both at a time.
func (p *preferred) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	group, ctx := errgroup.WithContext(ctx)
	standIn := &standIn{source: p.Source, group: group, publish: func(s *snapshot.Snapshot) {
		p.hear(time.Time{})
		publish(s)
	}}
	group.Go(func() error {
		p.follow(ctx, standIn, publish)
		return nil
	})
	return group.Wait()
}

// follow runs the stream, and the stand-in meanwhile, until ctx ends.
func (p *preferred) follow(ctx context.Context, standIn *standIn, publish func(*snapshot.Snapshot)) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = streamAgainFirst, streamAgainMost
	wait.Reset()
	told := ""
	standIn.startIn(ctx, headStart)
	for {
		err := p.stream.Run(ctx, func(s *snapshot.Snapshot) {
			if p.setLive(true) {
				standIn.stop()
				wait.Reset()
				told = ""
				p.log.Info("the swarm's changes are streamed")
			}
			publish(s)
		})
		if ctx.Err() != nil {
			return
		}
		if p.setLive(false) {
			p.hear(lastHeard(err))
		}
		standIn.startIn(ctx, 0)
		if err != nil && err.Error() != told {
			told = err.Error()
			p.log.Warn("the swarm's changes are not streamed; the docker api is read instead", "error", told)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// setLive tells whether it was otherwise before.
func (p *preferred) setLive(live bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.live != live
	p.live = live
	return changed
}

// lastHeard is when a stream that has just ended had something to say.
func lastHeard(err error) time.Time {
	var s silence
	if errors.As(err, &s) {
		return time.Now().Add(-s.SilentFor())
	}
	return time.Now()
}

func (p *preferred) hear(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = at
}

// Health is the source's while the stream is not read, which else ends by itself
// when it falls silent. The source is not given its own time on top of that.
func (p *preferred) Health() error {
	p.mu.Lock()
	live, heard := p.live, p.heard
	p.mu.Unlock()
	if live {
		return nil
	}
	if err := p.Source.Health(); err != nil {
		return err
	}
	if since := time.Since(heard); !heard.IsZero() && since > unheard {
		return fmt.Errorf("nothing has been heard of the swarm for %s", since.Round(time.Second))
	}
	return nil
}

// standIn is a source that is run now and then.
type standIn struct {
	source  Source
	group   *errgroup.Group
	publish func(*snapshot.Snapshot)

	cancel context.CancelFunc
	hurry  context.CancelFunc // has it run now
	ended  chan struct{}
}

// startIn has it run after a while. Where it runs already it has no effect, and
// where it is to run later than that it runs sooner.
func (s *standIn) startIn(ctx context.Context, wait time.Duration) {
	if s.ended != nil {
		if wait == 0 {
			s.hurry()
		}
		return
	}
	ctx, s.cancel = context.WithCancel(ctx)
	waiting, hurry := context.WithTimeout(ctx, wait)
	ended := make(chan struct{})
	s.hurry, s.ended = hurry, ended
	s.group.Go(func() error {
		defer close(ended)
		defer hurry()
		<-waiting.Done()
		if ctx.Err() != nil {
			return nil
		}
		return s.source.Run(ctx, s.publish)
	})
}

// stop returns once nothing more is published.
func (s *standIn) stop() {
	if s.ended == nil {
		return
	}
	s.cancel()
	<-s.ended
	s.cancel, s.hurry, s.ended = nil, nil, nil
}
