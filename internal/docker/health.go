package docker

import (
	"fmt"
	"sync"
	"time"
)

// overdue is how long a reading may be late before that is told.
const overdue = 5 * time.Second

// health knows when the next reading ought to be complete. A reader that hangs
// so is found by what it does not do.
type health struct {
	mu   sync.Mutex
	good time.Time // when the last reading ended well, or Run began
	due  time.Time // zero while nothing is due
	err  error     // of the last reading, if it failed
}

// expect says that all is well now, and the next reading comes after a pause
// and takes as long as the last one did.
func (h *health) expect(pause, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.good = time.Now()
	h.due = h.good.Add(pause + took + overdue)
	h.err = nil
}

func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// rest says that nothing is read any more, and nothing is to be.
func (h *health) rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due, h.err = time.Time{}, nil
}

func (h *health) now() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.due.IsZero() || time.Now().Before(h.due) {
		return nil
	}
	silent := time.Since(h.good).Round(time.Second)
	if h.err != nil {
		return fmt.Errorf("the swarm has not been read for %s: %w", silent, h.err)
	}
	return fmt.Errorf("the swarm has not been read for %s: the docker api does not answer", silent)
}
