package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	deathTimeout = 20 * time.Second
	deathPoll    = 5 * time.Millisecond
)

// process is one process for good: its number may be given to another one
// later, but not with the same start time since the same boot.
type process struct {
	pid   int
	start uint64 // clock ticks since boot
	boot  string
}

// stat is the part of /proc/PID/stat that the lab needs.
type stat struct {
	name   string
	zombie bool
	parent int
	start  uint64
}

var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name stands in parentheses and may hold anything, so count from its end.
	head, tail, _ := cutLast(string(text), ')')
	_, name, _ := strings.Cut(head, "(")
	f := strings.Fields(tail)
	if len(f) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(f))
	}
	parent, errParent := strconv.Atoi(f[1])
	start, errStart := strconv.ParseUint(f[19], 10, 64)
	return stat{name: name, zombie: f[0] == "Z", parent: parent, start: start}, errors.Join(errParent, errStart)
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func identify(pid int) (process, error) {
	s, err := readStat(pid)
	if err != nil {
		return process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return process{pid: pid, start: s.start, boot: bootID()}, nil
}

func (p process) alive() bool {
	if p.pid == 0 || p.boot != bootID() {
		return false
	}
	s, err := readStat(p.pid)
	return err == nil && !s.zombie && s.start == p.start
}

// signal sends the signal to p and to no other process, even if p ends and its
// number is given away meanwhile. A process that is gone is no error.
func (p process) signal(sig os.Signal) error {
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return fmt.Errorf("find process %d: %w", p.pid, err)
	}
	defer handle.Release() //nolint:errcheck // it only closes the handle
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// kill ends p, and if it is a process 1, everything in its namespace: the kernel
// lets a process 1 go only after all the others.
func (p process) kill(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	if err := p.signal(os.Kill); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deathTimeout)
	defer cancel()
	for p.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not die: %w", p.pid, ctx.Err())
		case <-time.After(deathPoll):
		}
	}
	return nil
}

// children are the processes that p started and that have the given name.
func (p process) children(name string) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil || s.parent != p.pid || s.name != name {
			continue
		}
		found = append(found, process{pid: pid, start: s.start, boot: p.boot})
	}
	return found, nil
}

func (p process) save(path string) error {
	text := fmt.Sprintf("%d %d %s\n", p.pid, p.start, p.boot)
	return replaceFile(path, []byte(text))
}

// loadProcess reads what save wrote; no file is no process.
func loadProcess(path string) (process, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return process{}, nil
	}
	if err != nil {
		return process{}, err
	}
	var p process
	if _, err := fmt.Sscan(string(text), &p.pid, &p.start, &p.boot); err != nil {
		return process{}, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}
