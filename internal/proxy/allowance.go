package proxy

import (
	"os"
	"sync"
	"time"
)

// allowance is until when one way of a stream may be busy. net/http can only end
// a stream, so that is done when somebody waits at that time, and never else: a
// deadline may pass unseen and be moved, as that of a socket may.
type allowance struct {
	// cut ends who is busy. It is not called after end has returned.
	cut func()

	mu    sync.Mutex
	by    time.Time // zero: for ever
	busy  bool
	over  bool
	spent bool // cut was called
	timer *time.Timer
	due   time.Time // when the timer calls look; zero: it does not
}

// begin is for another stream, which has all the time. A timer may still run for
// the one before, and then does nothing.
func (a *allowance) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by, a.busy, a.over, a.spent = time.Time{}, false, false, false
}

// move sets until when, from now on and for who is busy.
func (a *allowance) move(by time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by = by
	if a.busy {
		a.arm()
	}
}

// enter begins to be busy, unless time is over.
func (a *allowance) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spent || !a.by.IsZero() && !time.Now().Before(a.by) {
		return os.ErrDeadlineExceeded
	}
	a.busy = true
	a.arm()
	return nil
}

// leave ends being busy, and says of a failure whether it came from the time.
func (a *allowance) leave(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	if a.spent && err != nil {
		return os.ErrDeadlineExceeded
	}
	return err
}

// arm has the time watched. A timer that ends too early is left as it is: it is
// armed anew then, if somebody is busy, which saves moving it for each stream. The
// lock is held.
func (a *allowance) arm() {
	switch {
	case a.by.IsZero() || a.over || !a.due.IsZero() && !a.by.Before(a.due):
		return
	case a.timer == nil:
		a.timer = time.AfterFunc(time.Until(a.by), a.look)
	default:
		a.timer.Reset(time.Until(a.by))
	}
	a.due = a.by
}

// look is called when the time may be over.
func (a *allowance) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = time.Time{}
	switch {
	case !a.busy || a.over || a.spent || a.by.IsZero():
	case time.Now().Before(a.by):
		a.arm()
	default:
		a.spent = true
		a.cut()
	}
}

// end ends the watch.
func (a *allowance) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}
