package proxy

import (
	"testing"
	"testing/synctest"
)

// takes and puts back so many at once.
func (c *crew) wave(n int) {
	var taken []*hand
	for range n {
		taken = append(taken, c.take())
	}
	for _, h := range taken {
		c.put(h, true)
	}
}

func TestOfACrewThoseStayWhoAreNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		c.wave(8)
		for i, step := range []struct{ wave, want int }{
			{0, 8}, // they have just come
			{0, 4},
			{0, 2},
			{8, 8}, // whoever had been left was needed
			{3, 5},
			{3, 4},
			{3, 3},
			{3, 3},
			{0, 1},
			{0, 0},
			{0, 0},
		} {
			c.wave(step.wave)
			if c.thin(); len(c.idle) != step.want {
				t.Errorf("step %d: %d are left, want %d", i, len(c.idle), step.want)
			}
		}
		c.wave(2)
		c.close()
		if c.thin(); c.take() != nil {
			t.Error("a crew that is closed takes work")
		}
	})
}

func TestWhoIsAtWorkWhenTheCrewClosesIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		h, closed := c.take(), false
		go func() {
			c.close()
			closed = true
		}()
		if synctest.Wait(); closed {
			t.Error("it was not")
		}
		c.put(h, true)
		if synctest.Wait(); !closed {
			t.Error("the crew does not end")
		}
	})
}
