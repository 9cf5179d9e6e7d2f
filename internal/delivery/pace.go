package delivery

import "time"

// Every bundle that is taken costs a proxy with workers something: nginx starts new
// ones, and the old ones stay until their last request is over. So what comes in
// quick succession is sent together, at most once a period; after a calm, what
// follows the first bundle may be the rest of one change and comes sooner.
//
// What takes an endpoint away does not wait for that: its task gets the stop signal
// about a second after it was told to stop, and by then nobody may use it.
const (
	leastGap  = 300 * time.Millisecond // after any bundle; since it was sent, where an endpoint goes
	period    = time.Second            // from one bundle to the next
	calmAfter = 2 * time.Second        // after which a bundle is a first one again
	swapGap   = 50 * time.Millisecond  // between those that are taken without new workers
)

// pace says when a proxy may be sent another bundle.
type pace struct {
	last  time.Time // when a bundle was taken
	least time.Time // for one that takes an endpoint away
	until time.Time // for any other
}

// took is told when a bundle was sent and when it was taken.
func (p *pace) took(sent, now time.Time) {
	calm := now.Sub(p.last) >= calmAfter
	p.last, p.least, p.until = now, sent.Add(leastGap), now.Add(leastGap)
	if due := sent.Add(period); !calm && due.After(p.until) {
		p.until = due
	}
}

// next is when a bundle may be sent to a proxy that has taken a generation.
func (p *pace) next(b *Bundle, taken uint64) time.Time {
	switch {
	case b.Swapped:
		return p.last.Add(swapGap)
	case b.Drained > taken:
		return p.least
	default:
		return p.until
	}
}
