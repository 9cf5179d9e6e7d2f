package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOneManagerAndOneWorker is the life of a small lab; each part goes on where
// the last one ended.
func TestOneManagerAndOneWorker(t *testing.T) {
	l := New(t, Options{Managers: 1, Workers: 1})
	worker := l.Node("worker-00")

	steps := []struct {
		promise string
		keep    func(*testing.T, *Lab, *Node)
	}{
		{"both nodes are listed as ready", nodesAreListed},
		{"a pushed image runs as a service that answers at its node's address", serviceAnswers},
		{"a paused engine is silent while its containers go on", pauseStopsTheEngineOnly},
		{"without its cable a node is out of reach", pulledCable},
		{"a partition by port lets the other ports through", partitionByPort},
		{"a partitioned node is lost to the swarm until it is healed", partitionAndHeal},
		{"a killed node is gone at once and comes back with its data", killAndStart},
	}
	for _, s := range steps {
		if !t.Run(s.promise, func(t *testing.T) { s.keep(t, l, worker) }) {
			return
		}
	}
}

func nodesAreListed(t *testing.T, l *Lab, _ *Node) {
	for _, name := range []string{"manager-00", "worker-00"} {
		if status := statusOf(t.Context(), l, name); status != "Ready" {
			t.Errorf("%s is %s", name, status)
		}
	}
	leader, err := l.Leader(t.Context())
	if err != nil || leader.Name() != "manager-00" {
		t.Errorf("the leader is %v (%v), want manager-00", leader, err)
	}
}

func serviceAnswers(t *testing.T, l *Lab, worker *Node) {
	buildHello(t, l)
	if err := l.PushImages(t.Context(), "hello:1"); err != nil {
		t.Fatal(err)
	}
	// The plain name: the registry is the nodes' mirror for those.
	_, err := l.Managers()[0].Docker(t.Context(), "service", "create", "--quiet", "--detach", "--name", "hello",
		"--constraint", "node.role==worker", "--publish", "mode=host,target=8080,published=8080", "hello:1")
	if err != nil {
		t.Fatal(err)
	}
	expectHello(t, worker, 20*time.Second)
	if _, err := worker.Docker(t.Context(), "pull", "--quiet", l.Image("hello:1")); err != nil {
		t.Errorf("the image's full name: %v", err)
	}
}

func pauseStopsTheEngineOnly(t *testing.T, _ *Lab, worker *Node) {
	if err := worker.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := worker.Docker(ctx, "version"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the paused engine gave %v, want no answer within the second", err)
	}
	expectHello(t, worker, time.Second)
	if err := worker.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := worker.Docker(t.Context(), "version"); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func pulledCable(t *testing.T, _ *Lab, worker *Node) {
	if err := worker.LinkDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectSilence(t, worker)
	if err := worker.LinkUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectHello(t, worker, 10*time.Second)
}

func partitionByPort(t *testing.T, l *Lab, worker *Node) {
	manager := l.Managers()[0]
	if err := worker.PartitionPort(t.Context(), 8080, manager); err != nil {
		t.Fatal(err)
	}
	if err := dialFrom(t.Context(), manager, worker, 8080); err == nil {
		t.Error("port 8080 is cut, and the manager reaches it")
	}
	if err := dialFrom(t.Context(), manager, worker, 7946); err != nil {
		t.Errorf("port 7946 is not cut: %v", err)
	}
	if err := worker.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dialFrom(t.Context(), manager, worker, 8080); err != nil {
		t.Errorf("port 8080 is healed: %v", err)
	}
}

func partitionAndHeal(t *testing.T, l *Lab, worker *Node) {
	if err := worker.Partition(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := Eventually(t.Context(), time.Minute, func(ctx context.Context) error {
		if status := statusOf(ctx, l, worker.Name()); status != "Down" {
			return fmt.Errorf("the worker is %s", status)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	expectHello(t, worker, time.Second)
	if err := worker.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitConverged(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
}

func killAndStart(t *testing.T, l *Lab, worker *Node) {
	network := networksOf(t, l)[1]
	if err := worker.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if worker.Running() || inUse(network) {
		t.Error("processes of the killed node live on")
	}
	expectSilence(t, worker)
	if err := worker.Kill(t.Context()); err == nil {
		t.Error("a node that is off was killed once more")
	}
	if err := l.WaitConverged(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	if err := worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitConverged(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	expectHello(t, worker, 30*time.Second)
}

func TestDownLeavesNothing(t *testing.T) {
	t.Parallel()
	Require(t)
	l, err := Up(t.Context(), Options{Managers: 1})
	if err != nil {
		t.Fatal(err)
	}
	networks := networksOf(t, l)
	if found := traces(t, l.ID(), prefixOf(l)); len(found) < 4 {
		t.Errorf("of a lab that is up only %q is found: this test would not see what is left", found)
	}
	buildHello(t, l)
	if _, err := l.Builder().Docker(t.Context(), "run", "--detach", "--publish", "8080:8080", "hello:1"); err != nil {
		t.Error(err)
	}
	if err := l.Down(); err != nil {
		t.Error(err)
	}
	expectNoTraces(t, l.ID(), prefixOf(l))
	if inUse(networks[0]) {
		t.Error("processes live on in the node's network")
	}
	if err := l.Down(); err != nil {
		t.Errorf("down once more: %v", err)
	}
}

func TestTwoLabsDoNotMeet(t *testing.T) {
	t.Parallel()
	one := New(t, Options{Managers: 1})
	two := New(t, Options{Managers: 1})
	if one.Subnet().Overlaps(two.Subnet()) {
		t.Fatalf("both labs use %s", one.Subnet())
	}
	err := dialFrom(t.Context(), one.Node("manager-00"), two.Node("manager-00"), 2377)
	if err == nil {
		t.Error("a node reaches the other lab's")
	}
	if err := two.Down(); err != nil {
		t.Fatal(err)
	}
	if err := one.WaitConverged(t.Context(), 10*time.Second); err != nil {
		t.Errorf("after the other lab went down: %v", err)
	}
}

func TestLabDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	Require(t)
	owner, id := startOwner(t, "attached")
	s, err := readState(filepath.Join(root, id))
	if err != nil {
		t.Fatal(err)
	}
	prefix := prefixOf(newLab(s, filepath.Join(root, id), nil))
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed

	err = Eventually(t.Context(), 10*time.Second, func(context.Context) error {
		if left := filesWith("environ", filepath.Join(root, id)); len(left) > 0 {
			return fmt.Errorf("processes live on: %q", left)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectNoTraces(t, id, prefix)
}

func TestDetachedLabOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	Require(t)
	owner, id := startOwner(t, "detached")
	if err := owner.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := Open(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WaitConverged(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
	// As a power cut of the whole machine would leave it.
	if err := l.fabric.powerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(id); !errors.Is(err, ErrNotUp) {
		t.Errorf("a dead lab opens: %v", err)
	}
	if err := Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectNoTraces(t, id, prefixOf(l))
}

// startOwner runs another process that brings up a lab of that kind.
func startOwner(t *testing.T, role string) (owner *exec.Cmd, id string) {
	t.Helper()
	owner = exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), roleVariable+"="+role)
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, &id); err != nil {
		t.Fatalf("the owner said nothing: %v", err)
	}
	return owner, id
}

// buildHello builds the image hello:1 from nothing but a program.
func buildHello(t *testing.T, l *Lab) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "hello"), "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	recipe := "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(recipe), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Builder().Docker(t.Context(), "build", "--quiet", "--tag", "hello:1", dir); err != nil {
		t.Fatal(err)
	}
}

func expectHello(t *testing.T, n *Node, timeout time.Duration) {
	t.Helper()
	err := Eventually(t.Context(), timeout, func(ctx context.Context) error {
		answer, err := Curl(ctx, "http://"+n.Address()+":8080/", "Host: hello.local")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(answer.Body, "hello from ") || !strings.HasSuffix(answer.Body, " to hello.local") {
			return fmt.Errorf("status %d, body %q", answer.Status, answer.Body)
		}
		return nil
	})
	if err != nil {
		t.Errorf("ask the service on %s: %v", n.Name(), err)
	}
}

func expectSilence(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if answer, err := Curl(ctx, "http://"+n.Address()+":8080/"); err == nil {
		t.Errorf("%s answers: %q", n.Name(), answer.Body)
	}
}

// dialFrom opens a connection from one node to another.
func dialFrom(ctx context.Context, from, to *Node, port int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := run(ctx, nil, "", "nsenter", "--target", fmt.Sprint(from.PID()), "--net",
		"bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", to.Address(), port))
	return err
}

func statusOf(ctx context.Context, l *Lab, name string) string {
	seen, err := l.members(ctx)
	if err != nil {
		return err.Error()
	}
	return seen[name].status
}
