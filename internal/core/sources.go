package core

import (
	"context"
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

// Prefer returns a source that reads through the stream while that lasts, and
// through the source while it does not. A reading on demand is the source's,
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
}

// Run publishes what either of the two reads, never both at a time.
func (p *preferred) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	group, ctx := errgroup.WithContext(ctx)
	standIn := &standIn{source: p.Source, group: group, publish: publish}
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
	standIn.start(ctx)
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
		p.setLive(false)
		if ctx.Err() != nil {
			return
		}
		standIn.start(ctx)
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

// Health is the source's while the stream is not read, which else ends by itself
// when it falls silent.
func (p *preferred) Health() error {
	p.mu.Lock()
	live := p.live
	p.mu.Unlock()
	if live {
		return nil
	}
	return p.Source.Health()
}

// standIn is a source that is run now and then.
type standIn struct {
	source  Source
	group   *errgroup.Group
	publish func(*snapshot.Snapshot)

	cancel context.CancelFunc
	ended  chan struct{}
}

// start has no effect while it runs.
func (s *standIn) start(ctx context.Context) {
	if s.ended != nil {
		return
	}
	ctx, s.cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	s.ended = ended
	s.group.Go(func() error {
		defer close(ended)
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
	s.cancel, s.ended = nil, nil
}
