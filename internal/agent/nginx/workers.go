package nginx

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

const (
	// title begins the title of all processes of nginx, and leaving is in it as
	// soon as a worker closes its listening sockets.
	title   = "nginx: "
	leaving = "worker process is shutting down"
	// orphanTimeout bounds how long the orphans of a killed master may hold
	// on to the ports.
	orphanTimeout = 2 * time.Second
)

// workers returns the process IDs of the workers that take requests in the
// group of a master.
func workers(master int) ([]int, error) {
	processes, err := agent.OSProcesses()
	if err != nil {
		return nil, fmt.Errorf("looking for nginx's workers: %w", err)
	}
	var found []int
	for _, p := range processes {
		if p.Group == master && p.PID != master && takesRequests(p.PID) {
			found = append(found, p.PID)
		}
	}
	return found, nil
}

func takesRequests(pid int) bool {
	shown := shownAs(pid)
	return bytes.HasPrefix(shown, []byte(title)) && !bytes.Contains(shown, []byte(leaving))
}

func retires(pid int) bool { return bytes.Contains(shownAs(pid), []byte(leaving)) }

// shownAs is the title of a process; empty: it has gone.
func shownAs(pid int) []byte {
	shown, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return nil
	}
	return shown
}

// limitRetiring ends the oldest of the workers that only finish their requests, so
// that no more than limit of them are left, and returns how many it has ended.
// Each holds the memory of the configuration that it began with.
func limitRetiring(master, limit int) (ended int) {
	processes, err := agent.OSProcesses()
	if err != nil {
		return 0
	}
	var retiring []agent.OSProcess
	for _, p := range processes {
		if p.Group == master && p.PID != master && !p.Zombie && retires(p.PID) {
			retiring = append(retiring, p)
		}
	}
	slices.SortFunc(retiring, func(a, b agent.OSProcess) int { return cmp.Compare(a.Started, b.Started) })
	for _, p := range retiring[:max(len(retiring)-limit, 0)] {
		if syscall.Kill(p.PID, syscall.SIGTERM) == nil {
			ended++
		}
	}
	return ended
}

// retired waits until none of the workers takes requests, and returns those
// that still do when ctx ends.
func retired(ctx context.Context, pids []int) (stuck []int) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		stuck = stuck[:0]
		for _, pid := range pids {
			if takesRequests(pid) {
				stuck = append(stuck, pid)
			}
		}
		if len(stuck) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return stuck
		case <-ticker.C:
		}
	}
}

// retireOrphans makes the workers of a dead master let go of its ports, so that
// a new nginx can listen there. They may finish their requests; those that do
// not listen to reason are killed. It says whether there were any.
func (p *process) retireOrphans() (any bool) {
	orphans, err := workers(p.group())
	if err != nil {
		p.Kill()
		return true
	}
	for _, pid := range orphans {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
	ctx, cancel := context.WithTimeout(context.Background(), orphanTimeout)
	defer cancel()
	for _, pid := range retired(ctx, orphans) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(orphans) > 0
}
