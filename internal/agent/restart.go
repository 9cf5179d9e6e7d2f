package agent

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// firstRetry and longestRetry bound the pause before another start.
	firstRetry   = 200 * time.Millisecond
	longestRetry = 15 * time.Second
	// steadyAfter is how long a proxy must have run for its end to count as an
	// accident, after which it is started again at once.
	steadyAfter = 30 * time.Second
)

// retry says when a proxy that does not run is started again.
type retry struct {
	due     <-chan time.Time // nil: no start is due
	pauses  *backoff.ExponentialBackOff
	startAt time.Time
}

func newRetry() retry {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = firstRetry
	pauses.MaxInterval = longestRetry
	return retry{pauses: pauses}
}

// started notes that the proxy runs.
func (r *retry) started() {
	r.due = nil
	r.startAt = time.Now()
}

// stop takes back a start that is due.
func (r *retry) stop() { r.due = nil }

// arm makes a start due and says in how long.
func (r *retry) arm() time.Duration {
	pause := r.pauses.NextBackOff()
	if !r.startAt.IsZero() && time.Since(r.startAt) >= steadyAfter {
		r.pauses.Reset()
		pause = 0
	}
	r.startAt = time.Time{}
	r.due = time.After(pause)
	return pause
}

// processDone is nil, on which nobody ever receives, while no proxy runs.
func (a *Agent) processDone() <-chan struct{} {
	if a.process == nil {
		return nil
	}
	return a.process.Done()
}

// lost notes that the proxy ended without being asked to.
func (a *Agent) lost() {
	a.process = nil
	a.board.serveNothing()
	a.log.Error("the proxy has ended unasked; it is started again", "pause", a.retry.arm())
}

// restart starts the proxy with the last good bundle.
func (a *Agent) restart(ctx context.Context) {
	a.retry.stop()
	a.inPlace = nil
	err := a.files.place(a.good.bundle.Files)
	if err == nil {
		a.inPlace = a.good
		err = a.activate(ctx, a.good.bundle.Token)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.log.Error("the proxy does not start with the last good bundle; it is tried again",
			"bundle", a.good.version, "error", err, "pause", a.retry.arm())
		return
	}
	a.board.serve(a.good)
	a.log.Info("proxy started with the last good bundle", "bundle", a.good.version, "table", a.good.tableVersion)
}
