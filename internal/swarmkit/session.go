package swarmkit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// publishRest is how many times as long as giving out a snapshot took the pause
// after it is at least, so that many changes at once become one snapshot.
const publishRest = 2

// reader is one Run: what is known of the Swarm, over all of its connections.
type reader struct {
	source  *Source
	publish func(*snapshot.Snapshot)

	state  *state
	newest atomic.Uint64 // the state's
	live   bool          // whether the present connection has brought the state up to date
}

// session is one connection: it brings the state up to date, and keeps it so
// until the connection is lost. Its error is never nil.
func (r *reader) session(ctx context.Context) error {
	conn, err := r.source.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to be sent
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		stream, err := openStream(ctx, conn, r.position())
		if err != nil {
			return err
		}
		in := newInbox()
		group.Go(func() error { return in.fill(stream) })
		lists := r.source.lister(conn)
		if r.state == nil {
			if err := r.begin(ctx, lists); err != nil {
				return err
			}
		}
		r.live = true
		c := checker{pace: r.source.pace, lister: lists, newest: &r.newest, readings: make(chan reading)}
		group.Go(func() error { return c.feel(ctx) })
		group.Go(func() error { return c.read(ctx) })
		return r.follow(ctx, in, c.readings)
	})
	return group.Wait()
}

// position is from where on changes are wanted; 0 without a state that has one.
func (r *reader) position() uint64 {
	if r.state == nil {
		return 0
	}
	return r.state.position
}

// begin reads everything, while the stream is open already.
func (r *reader) begin(ctx context.Context, from lister) error {
	limited, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	l, err := from.everything(limited)
	if err != nil {
		return err
	}
	r.state = newState(l, r.source.opts.Configs)
	r.newest.Store(r.state.newest())
	return nil
}

// follow applies what comes in, and publishes.
func (r *reader) follow(ctx context.Context, in *inbox, readings <-chan reading) error {
	next := time.NewTimer(0) // to publish
	defer next.Stop()
	var suspects []suspect
	recheck := time.NewTimer(0)
	recheck.Stop()
	defer recheck.Stop()
	rested := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-in.filled:
			r.apply(in.take())
			if r.state.changed {
				next.Reset(time.Until(rested))
			}
		case <-next.C:
			began := time.Now()
			r.give()
			rested = time.Now().Add(publishRest * time.Since(began))
		case l := <-readings:
			if len(suspects) > 0 {
				continue // those before have their time
			}
			if suspects = r.state.suspects(l); len(suspects) > 0 {
				recheck.Reset(r.source.pace.lag)
			}
		case <-recheck.C:
			if missed := r.state.missed(suspects); missed != nil {
				return silent{error: fmt.Errorf("the stream of changes is silently dead: %w", missed)}
			}
			suspects = nil
		}
	}
}

func (r *reader) apply(messages []*swarmpb.WatchMessage) {
	for _, m := range messages {
		for _, e := range m.GetEvents() {
			r.state.apply(e)
		}
	}
	r.newest.Store(r.state.newest())
}

func (r *reader) give() {
	for _, f := range r.state.faults {
		r.source.opts.Logger.Warn("part of the swarm cannot be read", "kind", f.kind, "id", f.id, "why", f.why)
	}
	r.state.faults = nil
	if r.state.changed {
		r.publish(r.state.snapshot())
	}
}
