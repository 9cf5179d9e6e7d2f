package nginx

import (
	"os/exec"
	"testing"
	"time"
)

func TestAMasterThatWorksIsNotSilent(t *testing.T) {
	works, sleeps := run(t, "while :; do :; done"), run(t, "read -r")
	silent := func(pid int) *silence {
		s := newSilence(pid)
		s.since = time.Now().Add(-2 * silenceLimit)
		return s
	}
	until(t, "one that works is not silent", func() bool { return !silent(works).lasts() })
	until(t, "one that sleeps is", func() bool { return silent(sleeps).lasts() })
	s := silent(sleeps)
	s.lasts()
	if s.since = time.Now().Add(-2 * silenceLimit); s.lasts() {
		t.Error("it is said twice")
	}
}

// until waits: a script that was just started may still be about to do what it shall.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so within 30 s", what)
		}
	}
}

// run starts a script, which ends with the test, and returns its process ID.
func run(t *testing.T, script string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	input, err := cmd.StdinPipe() // so that it can wait for somebody to write
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	return cmd.Process.Pid
}
