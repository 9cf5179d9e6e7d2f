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

// arm has the time watched. The lock is held.
func (a *allowance) arm() {
	switch {
	case a.by.IsZero() || a.over:
	case a.timer == nil:
		a.timer = time.AfterFunc(time.Until(a.by), a.look)
	default:
		a.timer.Reset(time.Until(a.by))
	}
}

// look is called when the time may be over.
func (a *allowance) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.busy || a.over || a.spent:
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
	if a.timer != nil {
		a.timer.Stop()
	}
}
