package docker

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// listenFirst bounds how long the first reading waits for the event stream,
// after whose begin no change can be missed.
const listenFirst = time.Second

// knownErrors bounds how many different errors are remembered as logged.
const knownErrors = 32

// poller decides when to read, and what of it is worth publishing.
type poller struct {
	read func(context.Context) (*snapshot.Snapshot, error)
	// readTasks costs less: it takes the rest from the reading before.
	readTasks func(context.Context) (*snapshot.Snapshot, error)
	// watch calls hint when a reading may find something new, until ctx is done.
	watch  func(ctx context.Context, hint func())
	every  time.Duration
	log    *slog.Logger
	health *health

	ended     time.Time          // of the last reading
	whole     time.Time          // the end of the last one that was not of tasks only
	took      time.Duration      // by that one
	tookTasks time.Duration      // by the last one of tasks only; 0: there was none
	last      *snapshot.Snapshot // as published
	changed   time.Time          // when that was
	failing   time.Time          // since when readings fail; zero if they do not
	logged    map[string]bool    // errors since then
	wait      *backoff.ExponentialBackOff
}

func (p *poller) run(ctx context.Context, publish func(*snapshot.Snapshot)) {
	hints := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		p.watch(ctx, func() {
			select {
			case hints <- struct{}{}:
			default: // one is waiting already
			}
		})
	})
	p.wait = newBackOff()
	p.health.expect(listenFirst, 0)
	defer p.health.rest()
	timer := time.NewTimer(listenFirst)
	defer timer.Stop()
	whole := true // what the timer is for
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-hints:
			whole = true
			if !sleep(ctx, max(hintGap, restFactor*p.took)-time.Since(p.ended)) {
				return
			}
		}
		var pause time.Duration
		pause, whole = p.once(ctx, whole, publish)
		timer.Reset(pause)
	}
}

// once reads everything, or tasks only, and publishes. It returns the pause before the
// next reading, and whether that is of everything.
func (p *poller) once(ctx context.Context, whole bool, publish func(*snapshot.Snapshot)) (time.Duration, bool) {
	s, err := p.readOnce(ctx, whole)
	if errors.Is(err, errTasksAlone) {
		whole = true
		s, err = p.readOnce(ctx, whole)
	}
	if ctx.Err() != nil {
		return 0, true
	}
	if err != nil {
		return p.failed(err), true
	}
	p.recovered()
	if p.last == nil || !reflect.DeepEqual(p.last, s) {
		p.last, p.changed = s, time.Now()
		publish(s)
	}
	return p.next(s, whole)
}

// readOnce notes how long a reading took.
func (p *poller) readOnce(ctx context.Context, whole bool) (*snapshot.Snapshot, error) {
	read, took := p.readTasks, &p.tookTasks
	if whole {
		read, took = p.read, &p.took
	}
	began := time.Now()
	s, err := read(ctx)
	p.ended = time.Now()
	*took = p.ended.Sub(began)
	if whole {
		p.whole = p.ended
	}
	return s, err
}

// next says when to read again after a reading s of everything, or of tasks only, and
// whether of everything.
func (p *poller) next(s *snapshot.Snapshot, wasWhole bool) (time.Duration, bool) {
	made, tasks := p.took, p.took
	if p.tookTasks > 0 { // which are a part of everything, unless that is long ago
		tasks = min(p.tookTasks, p.took)
	}
	if !wasWhole {
		made = p.tookTasks
	}
	pause := pollInterval(s, p.every, tasks, time.Since(p.changed))
	moves := pause < p.every
	due := max(min(p.every, wholeInterval), wholeRest*p.took) - time.Since(p.whole)
	if !moves && !wasWhole {
		pause = min(pause, due) // to see what else it has come to
	}
	pause = max(pause, restFactor*tasks)
	whole := !moves || pause >= due
	if whole {
		pause = max(pause, restFactor*made)
	}
	// An event may have the next one wait for as long as that.
	p.health.expect(max(pause, restFactor*p.took), p.took)
	return pause, whole
}

func (p *poller) failed(err error) time.Duration {
	p.health.failed(err)
	if p.failing.IsZero() {
		p.failing = time.Now()
		p.logged = make(map[string]bool)
	}
	if text := err.Error(); !p.logged[text] && len(p.logged) < knownErrors {
		p.logged[text] = true
		p.log.Error("the swarm cannot be read; what was read last stays in effect", "error", text)
	}
	return p.wait.NextBackOff()
}

func (p *poller) recovered() {
	if p.failing.IsZero() {
		return
	}
	p.log.Info("the swarm can be read again", "after", time.Since(p.failing).Round(time.Millisecond))
	p.failing, p.logged = time.Time{}, nil
	p.wait.Reset()
}
