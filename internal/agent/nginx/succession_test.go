package nginx

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// family is a process that has children with titles like nginx's.
type family struct {
	t      *testing.T
	master int
	order  io.Writer
	births *bufio.Reader
}

func newFamily(t *testing.T) *family {
	t.Helper()
	// With -m children do not ignore SIGQUIT.
	cmd := exec.CommandContext(t.Context(), "bash", "-mc", `while read -r title; do (exec -a "$title" sleep 60) & echo $!; done; kill $(jobs -p)`)
	order, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	births, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		order.Close()
		_ = cmd.Wait()
	})
	return &family{t, cmd.Process.Pid, order, bufio.NewReader(births)}
}

// child starts one and waits until it has its title.
func (f *family) child(title string) int {
	f.t.Helper()
	fmt.Fprintln(f.order, title)
	line, err := f.births.ReadString('\n')
	if err != nil {
		f.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		f.t.Fatal(err)
	}
	f.eventually(func() bool { return strings.HasPrefix(string(shownAs(pid)), title) })
	return pid
}

func (f *family) eventually(holds func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatal("not within 30 s")
		}
	}
}

const forked, ready = "nginx: master process", "nginx: worker process"

func TestOldWorkersLeaveWhenAsManyNewOnesAreReady(t *testing.T) {
	f := newFamily(t)
	old := []int{f.child(ready), f.child(ready)}
	cache := f.child("nginx: cache manager process")
	s := newSuccession(f.master, append(old, cache))
	if s.done() {
		t.Error("over before there is any new worker")
	}
	f.child(ready)
	f.child(forked)
	if s.done() || !works(old[0]) || !works(old[1]) {
		t.Error("over while one of two new workers is not ready")
	}
	f.child(ready)
	if !s.done() {
		t.Error("not over when all are ready")
	}
	f.eventually(func() bool { return !works(old[0]) && !works(old[1]) })
	if !takesRequests(cache) {
		t.Error("what keeps the cache was told to leave, too")
	}
}

func TestASuccessionIsOverWhenNginxHasOldWorkersLeave(t *testing.T) {
	f := newFamily(t)
	old := []int{f.child(ready), f.child(ready)}
	s := newSuccession(f.master, old)
	f.child(ready)
	if err := syscall.Kill(old[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.eventually(s.done)
	if !works(old[0]) {
		t.Error("the other one was told to leave")
	}
}

func TestAMasterThatWorksIsNotSilent(t *testing.T) {
	busy := exec.CommandContext(t.Context(), "bash", "-c", "while :; do :; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = busy.Process.Kill()
		_ = busy.Wait() // it was killed
	}()
	f := newFamily(t)
	works, sleeps := newSilence(busy.Process.Pid), newSilence(f.master)
	long := time.Now().Add(-2 * silenceLimit)
	works.since, sleeps.since = long, long
	if works.lasts() {
		t.Error("it works")
	}
	f.eventually(func() bool { sleeps.since = long; return sleeps.lasts() })
	if sleeps.since = long; sleeps.lasts() {
		t.Error("it is said twice")
	}
}
