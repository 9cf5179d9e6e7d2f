package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// patience bounds every wait. Tasks on overlay networks may need minutes to start on
// a machine that is busy; how fast a source is, bench/ measures.
const patience = 6 * time.Minute

// site is the Swarm that is observed.
var site = &walkthrough.Site{Version: "conformance"}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func docker(t *testing.T, args ...string) {
	t.Helper()
	_, err := site.Docker(context.Background(), args...)
	check(t, err)
}

// eventually waits until holds returns nil.
func eventually(t *testing.T, what string, holds func(context.Context) error) {
	t.Helper()
	if err := lab.Eventually(t.Context(), patience, holds); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// restore puts the Swarm back to what it was: every node on, and nothing in it.
func restore(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range site.Lab.Nodes() {
		if !n.Running() {
			check(t, n.Start(ctx))
		}
	}
	check(t, site.Lab.WaitConverged(ctx, patience))
	check(t, site.Clear(ctx))
}

// lose pulls a node's plug, and waits until the others have noticed.
func lose(t *testing.T, n *lab.Node) {
	t.Helper()
	check(t, n.Kill(t.Context()))
	eventually(t, n.Name()+" is lost", func(ctx context.Context) error {
		status, err := site.Docker(ctx, "node", "inspect", "-f", "{{.Status.State}}", n.Name())
		if err == nil && status != "down" {
			err = errors.New("it is " + status)
		}
		return err
	})
}

func regain(t *testing.T, n *lab.Node) {
	t.Helper()
	check(t, n.Start(t.Context()))
}

func want(holds bool, what string) error {
	if holds {
		return nil
	}
	return errors.New("not yet: " + what)
}

func tasksOf(s *snapshot.Snapshot, service string) (tasks []*snapshot.Task) {
	for task := range s.AllTasks() {
		if of := s.Service(task.ServiceID); of != nil && of.Spec.Name == service {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

func has(s *snapshot.Snapshot, service string, state snapshot.TaskState) bool {
	for _, task := range tasksOf(s, service) {
		if task.State == state {
			return true
		}
	}
	return false
}

// running says whether a service runs so many tasks, and no others.
func running(s *snapshot.Snapshot, service string, count int) error {
	var states []string
	for _, task := range tasksOf(s, service) {
		states = append(states, task.State.String())
		if task.State == snapshot.TaskRunning && task.Desired == snapshot.TaskRunning {
			count--
		}
	}
	return want(count == 0, fmt.Sprintf("%s runs as it should: %s", service, strings.Join(states, " ")))
}

func node(s *snapshot.Snapshot, name string) snapshot.Node {
	for _, n := range s.Nodes {
		if n.Hostname == name {
			return n
		}
	}
	return snapshot.Node{}
}

// waitForNewRoot waits until every node has a certificate of the new root, which
// Swarm sees to one node after another.
func waitForNewRoot(t *testing.T) {
	t.Helper()
	eventually(t, "all nodes have a certificate of the new root", func(ctx context.Context) error {
		status, err := site.Docker(ctx, "node", "ls", "--format", "{{.TLSStatus}}")
		if err == nil && strings.Count(status, "Ready") != len(site.Lab.Nodes()) {
			err = errors.New(strings.Join(strings.Fields(status), " "))
		}
		return err
	})
}
