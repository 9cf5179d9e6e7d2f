package proxy

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// wait is what somebody waits in until time is over, or for so long.
func (a *allowance) wait(t *testing.T, most time.Duration) (waited time.Duration, err error) {
	t.Helper()
	began, cut := time.Now(), make(chan struct{}, 1)
	a.cut = func() { cut <- struct{}{} }
	if err := a.enter(); err != nil {
		return 0, err
	}
	select {
	case <-cut:
		err = errors.New("cut")
	case <-time.After(most):
	}
	return time.Since(began), a.leave(err)
}

// What one stream has left behind is nothing to the next.
func TestAnotherStreamHasATimeOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a allowance
		for _, step := range []struct {
			within, most, want time.Duration // within 0: for ever
			over               bool
		}{
			{within: 10 * time.Second, most: time.Second, want: time.Second},
			{within: 30 * time.Second, most: time.Minute, want: 30 * time.Second, over: true},
			{within: 2 * time.Second, most: time.Minute, want: 2 * time.Second, over: true},
			{within: 10 * time.Second, most: time.Second, want: time.Second},
			{within: 0, most: time.Minute, want: time.Minute},
			{within: 5 * time.Second, most: time.Minute, want: 5 * time.Second, over: true},
		} {
			a.begin()
			if step.within > 0 {
				a.move(time.Now().Add(step.within))
			}
			waited, err := a.wait(t, step.most)
			if waited != step.want || errors.Is(err, os.ErrDeadlineExceeded) != step.over {
				t.Errorf("within %v: %v after %v", step.within, err, waited)
			}
			a.end()
		}
	})
}
