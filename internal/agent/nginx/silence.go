package nginx

import (
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

// silenceLimit is for how long a master may sleep after it was told to reload, and
// say nothing, before another nginx is asked about the files.
const silenceLimit = 2 * time.Second

// silence is the time in which a master that was told to reload does nothing. It may
// have refused the files and said so elsewhere: an error log is the files' to name.
type silence struct {
	master int
	since  time.Time
	over   bool
}

func newSilence(master int) *silence { return &silence{master: master, since: time.Now()} }

// lasts says, once, that it has been too long.
func (s *silence) lasts() bool {
	if s.over {
		return false
	}
	if p, err := agent.OSProcessOf(s.master); err != nil || !p.Asleep {
		s.since = time.Now()
	}
	s.over = time.Since(s.since) >= silenceLimit
	return s.over
}
