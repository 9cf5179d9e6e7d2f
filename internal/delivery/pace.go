package delivery

import "time"

// Every bundle that is taken costs a proxy something: nginx starts new workers,
// and the old ones stay until their last request is over. So what comes in
// quick succession is sent together. A hundred changes within a second cost
// three bundles: the first at once, one in between, and one with the rest.
const (
	firstGap  = 300 * time.Millisecond // after a first bundle
	laterGap  = 700 * time.Millisecond // after those that follow it closely
	calmAfter = 2 * time.Second        // after which a bundle is a first one again
)

// pace says when a proxy may be sent another bundle.
type pace struct {
	last  time.Time // when a bundle was taken
	until time.Time
}

func (p *pace) took(now time.Time) {
	gap := laterGap
	if now.Sub(p.last) >= calmAfter {
		gap = firstGap
	}
	p.last, p.until = now, now.Add(gap)
}
