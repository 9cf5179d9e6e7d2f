package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// reapInterval is how often dead orphans are looked for without being told:
// the kernel merges signals, and a process ID may be used anew.
const reapInterval = 10 * time.Second

// Children starts the processes that the agent waits for itself, and buries
// those that it never started. The first process of a container inherits every
// orphan in it; whoever waited for any child at all would take the exit status
// of one's own away from exec.Cmd. So Children knows its own by their IDs, and
// waits for single other ones. A process must start all of its children
// through one Children if it calls Reap.
type Children struct {
	mu  sync.Mutex // held while a child starts, so that none is unknown to Reap
	own map[int]bool
}

// NewChildren returns Children that have started nothing.
func NewChildren() *Children { return &Children{own: make(map[int]bool)} }

// Start starts a command; Wait must be called for it.
func (c *Children) Start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	c.own[cmd.Process.Pid] = true
	return nil
}

// Wait waits for a command as its own method of that name does.
func (c *Children) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, cmd.Process.Pid)
	return err
}

// Reap buries orphans until ctx ends. It is for the first process of a
// container. Where it cannot look for them it says so and tries again: zombies
// are no reason to give up anything else.
func (c *Children) Reap(ctx context.Context, log *slog.Logger) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	ticker := time.NewTicker(reapInterval)
	defer ticker.Stop()
	failing := false
	for {
		err := c.reapDead()
		if err != nil && !failing {
			log.Error("no orphans are buried, trying again", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-died:
		case <-ticker.C:
		}
	}
}

// reapDead waits for each dead child that is not one's own.
func (c *Children) reapDead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	processes, err := OSProcesses()
	if err != nil {
		return fmt.Errorf("looking for orphans: %w", err)
	}
	self := os.Getpid()
	for _, p := range processes {
		if p.Zombie && p.Parent == self && !c.own[p.PID] {
			// It is dead, so this returns at once; it cannot fail but by
			// having been done already.
			_, _ = syscall.Wait4(p.PID, nil, syscall.WNOHANG, nil)
		}
	}
	return nil
}
