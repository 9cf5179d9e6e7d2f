package agent

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// firstSaving and longestSaving bound the pause before the last good bundle is
	// saved anew, give or take a half.
	firstSaving   = time.Second
	longestSaving = time.Minute
)

// saving says what of the last good bundles is on the volume, and when that is to be
// tried again.
type saving struct {
	done   *served          // the last that was saved, or read; nil: none
	due    <-chan time.Time // nil: the last good one is saved
	pauses *backoff.ExponentialBackOff
}

func newSaving() saving {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = firstSaving, longestSaving
	return saving{pauses: pauses}
}

// save saves the last good bundle. Where that fails, as with a volume that is full or
// another agent that hangs while it writes, the bundle is served all the same, and
// saved later: until then a restart would begin with an older one.
func (a *Agent) save() {
	err := a.store.save(a.saving.done, a.good)
	if err == nil {
		a.saving.done, a.saving.due = a.good, nil
		a.saving.pauses.Reset()
		return
	}
	pause := a.saving.pauses.NextBackOff()
	a.saving.due = time.After(pause)
	a.log.Error("the last good bundle could not be saved; it is tried again", "bundle", a.good.version, "error", err, "pause", pause)
}

// saveAtLast tries once more before the agent ends.
func (a *Agent) saveAtLast() {
	if a.saving.due != nil {
		a.save()
	}
}
