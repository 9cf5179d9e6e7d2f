package delivery

import "time"

// How long an offer is held back before it is made again.
const (
	// takenHold is after a proxy took a bundle and then said that it serves
	// another one. Its status may only have been under way; else somebody moves
	// the proxy back, with whom it is no use to compete at full speed.
	takenHold = time.Second
	// failedHold is after a proxy could neither take nor refuse a bundle, or
	// obeyed another core.
	failedHold = 5 * time.Second
	// longestHold is after a refusal, whose cause may be outside of the bundle,
	// such as a port that is taken; and the longest that the others grow to.
	longestHold = time.Minute
	// offerForgotten is how long after an offer the same one counts as new.
	offerForgotten = 10 * longestHold
)

// offer is what a proxy was sent. It says when the same may be sent again: the
// proxy's word decides whether it needs to be.
type offer struct {
	what  content
	times int // in a row
	made  time.Time
	until time.Time
}

func (o *offer) make(what content, now time.Time) {
	if what != o.what || now.Sub(o.made) >= offerForgotten {
		o.times = 0
	}
	o.what, o.made = what, now
	o.times++
}

func (o *offer) hold(pause time.Duration) { o.until = time.Now().Add(pause) }

// holdGrowing doubles the pause with every time in a row and returns it.
func (o *offer) holdGrowing(pause time.Duration) time.Duration {
	for range o.times - 1 {
		if pause >= longestHold {
			break
		}
		pause *= 2
	}
	pause = min(pause, longestHold)
	o.hold(pause)
	return pause
}
