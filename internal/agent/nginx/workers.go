package nginx

import (
	"bytes"
	"context"
	"fmt"
	"os"
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
	lookInterval  = 10 * time.Millisecond
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
	shown, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && bytes.HasPrefix(shown, []byte(title)) && !bytes.Contains(shown, []byte(leaving))
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
