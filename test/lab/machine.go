package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// machine is a shell script that runs as process 1 of namespaces of its own. It
// keeps everything in its folder: among others the log, the script and, in the
// file pid, which process it is.
type machine struct {
	dir string

	mu sync.Mutex
	// lifeline is held by the process that booted the machine: when that is gone,
	// the machine goes too. It is nil once the machine was told to stay.
	lifeline *os.File
}

// boot starts the machine. The script waits until plug has connected the new
// network namespace, which belongs to the process whose number plug is given.
func (m *machine) boot(script []byte, env []string, plug func(pid int) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	far, near, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make the lifeline: %w", err)
	}
	defer far.Close()
	pid, err := m.launch(script, env, far)
	if err == nil {
		err = m.connect(pid, near, plug)
	}
	if err != nil {
		return errors.Join(err, near.Close())
	}
	m.lifeline = near
	return nil
}

// launch starts process 1 and sees to it that it is reaped. Until it reads a
// line from the lifeline it does nothing, and it ends with the lifeline.
func (m *machine) launch(script []byte, env []string, lifeline *os.File) (int, error) {
	path := filepath.Join(m.dir, "boot.sh")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		return 0, fmt.Errorf("write the script: %w", err)
	}
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	// No context ends a machine: its lifeline does, or powerOff.
	cmd := exec.CommandContext(context.Background(), "/bin/sh", path)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + searchPath, "HOME=/root", "DIR=" + m.dir}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = lifeline, log, log
	cmd.SysProcAttr = ownNamespaces()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start process 1: %w", err)
	}
	// How it ended is in the log. The goroutine ends with the machine.
	go func() { _ = cmd.Wait() }()
	return cmd.Process.Pid, nil
}

func (m *machine) connect(pid int, lifeline *os.File, plug func(pid int) error) error {
	p, err := identify(pid)
	if err != nil {
		return err
	}
	if err := p.save(m.pidPath()); err != nil {
		return fmt.Errorf("note process %d: %w", pid, err)
	}
	if err := plug(pid); err != nil {
		return err
	}
	if _, err := lifeline.WriteString("go\n"); err != nil {
		return fmt.Errorf("let process %d go on: %w", pid, err)
	}
	return nil
}

// stay makes the machine outlive this process.
func (m *machine) stay() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lifeline == nil {
		return nil
	}
	_, err := m.lifeline.WriteString("stay\n")
	err = errors.Join(err, m.lifeline.Close())
	m.lifeline = nil
	if err != nil {
		return fmt.Errorf("tell %s to stay: %w", filepath.Base(m.dir), err)
	}
	return nil
}

// powerOff kills everything in the machine at once.
func (m *machine) powerOff(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.process()
	if err != nil {
		return err
	}
	err = p.kill(ctx)
	if m.lifeline != nil {
		err = errors.Join(err, m.lifeline.Close())
		m.lifeline = nil
	}
	return err
}

func (m *machine) process() (process, error) { return loadProcess(m.pidPath()) }

func (m *machine) running() bool {
	p, err := m.process()
	return err == nil && p.alive()
}

func (m *machine) pidPath() string { return filepath.Join(m.dir, "pid") }
func (m *machine) logPath() string { return filepath.Join(m.dir, "log") }

// explain adds to the error what the machine said last, unless it is only that
// the caller gave up.
func (m *machine) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w; its last words: %s", err, m.lastWords(3))
}

// lastWords are the last lines of the machine's log.
func (m *machine) lastWords(lines int) string {
	const most = 32 << 10
	f, err := os.Open(m.logPath())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	tail := make([]byte, min(info.Size(), most))
	n, _ := f.ReadAt(tail, info.Size()-int64(len(tail)))
	all := strings.Split(strings.TrimSpace(string(tail[:n])), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
