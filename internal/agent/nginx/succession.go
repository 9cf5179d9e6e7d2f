package nginx

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

const (
	// working is the title of a worker from when it takes requests until it leaves.
	working = title + "worker process"
	// silenceLimit is for how long a master may sleep after it was told to reload, and
	// say nothing, before another nginx is asked about the files.
	silenceLimit = 2 * time.Second
)

// succession is the change from the workers of one configuration to those of the next.
//
// nginx has the old ones leave 100 ms after it has forked the new ones, so that these
// have time to get ready. They show in their title that they are; so the old ones need
// not stay for longer. The master takes no notice of children that end before it has
// told the old ones to leave itself: it does not start them again.
type succession struct {
	master int
	old    []int // workers
	before []int // all children of the master
}

// newSuccession notes what there is before a master is told to reload. What keeps
// its caches is no worker, and nginx's to end.
func newSuccession(master int, workers []int) *succession {
	s := &succession{master: master, before: children(master)}
	for _, pid := range workers {
		if works(pid) {
			s.old = append(s.old, pid)
		}
	}
	return s
}

// done says whether the old workers leave, or have been told to.
func (s *succession) done() bool {
	if slices.ContainsFunc(s.old, func(pid int) bool { return !takesRequests(pid) }) {
		return true
	}
	if s.ready() < max(len(s.old), 1) {
		return false
	}
	for _, pid := range s.old {
		if works(pid) {
			_ = syscall.Kill(pid, syscall.SIGQUIT)
		}
	}
	return true
}

// ready counts the new workers that take requests.
func (s *succession) ready() (count int) {
	for _, pid := range children(s.master) {
		if !slices.Contains(s.before, pid) && works(pid) {
			count++
		}
	}
	return count
}

func works(pid int) bool {
	shown := shownAs(pid)
	return bytes.HasPrefix(shown, []byte(working)) && !bytes.Contains(shown, []byte(leaving))
}

// children returns the process IDs of a process's children. A kernel that does not
// tell (CONFIG_PROC_CHILDREN) costs a reload nginx's own pause.
func children(pid int) (found []int) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, word := range strings.Fields(string(list)) {
		if child, err := strconv.Atoi(word); err == nil {
			found = append(found, child)
		}
	}
	return found
}

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
	if p, err := agent.OSProcessOf(s.master); err != nil || !p.Asleep {
		s.since = time.Now()
	}
	if s.over || time.Since(s.since) < silenceLimit {
		return false
	}
	s.over = true
	return true
}
