package proxy

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// silenceLimit is how long an endpoint's machine may leave unacknowledged what
// was sent to it. That takes milliseconds, however slow the app is: a machine
// that does not is gone, or the way to it is, and requests are tried elsewhere.
const silenceLimit = 2 * time.Second

// expectSilence says whether what is sent next may be more than the app takes at
// once. It may leave that for long, and to the kernel this is silence too.
func (c *upstreamConn) expectSilence(expected bool) {
	if c.silenceExpected == expected || c.raw == nil {
		return
	}
	c.silenceExpected = expected
	limit := silenceLimit
	if expected {
		limit = 0
	}
	limitSilence(c.raw, int(limit.Milliseconds()))
}

// tookTooLong reports whether the endpoint had its time: one that closed a kept
// connection just as it was used again had not.
func tookTooLong(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}
