package delivery

import (
	"testing"
	"time"
)

func TestAHundredChangesInASecondAreThreeBundlesAndTheLastIsSoonServed(t *testing.T) {
	for _, work := range []time.Duration{0, 20 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond} {
		var p pace
		start := time.Unix(1000, 0)
		at := func(i int) time.Time { return start.Add(time.Duration(i) * 10 * time.Millisecond) }
		bundles, now := 0, start
		for next := 0; next < 100; {
			// What came while the proxy worked, or had to wait, goes together.
			now = latest(now, at(next), p.next(&Bundle{}, 0))
			for next < 100 && !at(next).After(now) {
				next++
			}
			bundles++
			now = now.Add(work)
			p.took(now.Add(-work), now)
		}
		if bundles > 3 {
			t.Errorf("where a bundle takes a proxy %s, %d are sent", work, bundles)
		}
		if late := now.Sub(at(99)); late > 1100*time.Millisecond+work {
			t.Errorf("where a bundle takes a proxy %s, the last change is served after %s", work, late)
		}
		if p.took(now.Add(calmAfter), now.Add(calmAfter)); p.next(&Bundle{}, 0).Sub(now.Add(calmAfter)) != leastGap {
			t.Error("calm is not noticed")
		}
	}
}

func latest(times ...time.Time) time.Time {
	last := times[0]
	for _, t := range times[1:] {
		if t.After(last) {
			last = t
		}
	}
	return last
}

func TestUnderChurnThereIsAtMostOneBundleASecondUnlessAnEndpointIsTakenAway(t *testing.T) {
	const work = 150 * time.Millisecond
	var p pace
	now := time.Unix(1000, 0)
	p.took(now.Add(-work), now)
	for i := range 10 {
		drains, b := i%2 == 1, &Bundle{}
		if drains {
			b.Drained = 2
		}
		next := p.next(b, 1)
		if wait := next.Sub(now); drains && wait > leastGap-work || !drains && i > 0 && wait < period-work {
			t.Errorf("bundle %d, which takes an endpoint away: %t, waits for %s", i, drains, wait)
		}
		now = next.Add(work)
		p.took(next, now)
		if wait := p.next(&Bundle{Swapped: true}, 1).Sub(now); wait > swapGap {
			t.Errorf("a proxy that needs no reload waits for %s", wait)
		}
	}
}
