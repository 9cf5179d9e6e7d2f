package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inherits makes the test binary, run as a program of its own, inherit orphans
// as the first process of a container does.
const inherits = "AGENT_TEST_INHERITS_ORPHANS"

func TestMain(m *testing.M) {
	if os.Getenv(inherits) != "" {
		if err := inheritOrphans(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOrphansAreReapedAndOwnChildrenAreNot(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), inherits+"=yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// inheritOrphans starts children that each leave an orphan behind, while
// orphans are reaped, which at first is not possible. Every child's own exit
// status must arrive.
func inheritOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	c := NewChildren()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reaped := make(chan struct{})
	if err := withoutFiles(func(log *slog.Logger) {
		go func() {
			defer close(reaped)
			c.Reap(ctx, log)
		}()
	}); err != nil {
		return err
	}
	for range 100 {
		cmd := exec.Command("/bin/sh", "-c", "(exit 0) & (sleep 0.01) & exit 7")
		if err := c.Start(cmd); err != nil {
			return err
		}
		if err := c.Wait(cmd); err == nil || cmd.ProcessState.ExitCode() != 7 {
			return fmt.Errorf("a child's own exit status was lost: %w", err)
		}
	}
	err := noneLeft(30 * time.Second)
	cancel()
	<-reaped
	return err
}

// withoutFiles starts something while the process cannot open any file, and
// returns when it has logged something.
func withoutFiles(start func(*slog.Logger)) error {
	var limit unix.Rlimit
	// The runtime needs files of its own, which it opens with the first of ours.
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	defer writer.Close()
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		return err
	}
	logged := make(signalling, 1)
	start(slog.New(slog.NewTextHandler(logged, nil)))
	select {
	case <-logged:
	case <-time.After(30 * time.Second):
		return errors.New("nothing was said of orphans that cannot be looked for")
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// signalling says that something was written.
type signalling chan struct{}

func (s signalling) Write(data []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(data), nil
}

func noneLeft(patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		processes, err := OSProcesses()
		if err != nil {
			return err
		}
		var left []string
		for _, p := range processes {
			if p.Parent == os.Getpid() {
				left = append(left, fmt.Sprintf("%+v", p))
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("never reaped: %s", strings.Join(left, " "))
		}
	}
}

func TestAProcessIsReadWhateverItIsCalled(t *testing.T) {
	got, err := parseStat([]byte("42 (a) Z (b\n) Z 1 7 7 0 -1"))
	if want := (OSProcess{PID: 42, Parent: 1, Group: 7, Zombie: true}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, broken := range []string{"", "42", "42 (a)", "x (a) R 1 2", "42 )a( R 1 2"} {
		if got, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q read as %+v", broken, got)
		}
	}
}
