package soak

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
)

// How soon a change is live once the managers have a leader again, and how soon
// a core that learns nothing more says so.
const (
	newLeaderLimit = 10 * time.Second
	staleLimit     = 12 * time.Second
)

func long(inShort time.Duration) time.Duration {
	if full {
		return 5 * time.Minute
	}
	return inShort
}

// managersGone takes two of three managers away, so that nobody decides any more.
func managersGone(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 2)
	core := theTask(t, "interlock").node
	l := startLoad(t)
	var gone []*lab.Node
	for _, n := range site.Lab.Managers() {
		if n.Name() != core {
			check(t, n.Kill(t.Context()))
			gone = append(gone, n)
		}
	}
	time.Sleep(long(20 * time.Second))
	check(t, switchOn(t.Context(), gone))
	eventually(t, "the managers have a leader", func(ctx context.Context) error {
		_, err := site.Lab.Leader(ctx)
		return err
	})
	began := time.Now()
	eventually(t, "a label is taken", func(ctx context.Context) error {
		_, err := site.Docker(ctx, "service", "update", "--detach", "--label-add", "com.docker.lb.hosts=demo.local,led.local", "demo")
		return err
	})
	i.waitFollowed(t, "led.local")
	within(t, "after there was a leader a new label was live", time.Since(began), newLeaderLimit)
	return l.Stop()
}

// switchOn starts nodes all at once: managers without a majority do not answer.
func switchOn(ctx context.Context, nodes []*lab.Node) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		group.Go(func() error { return n.Start(ctx) })
	}
	return group.Wait()
}

// cutOff separates the core from its manager, and then the workers from all
// managers.
func cutOff(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 2)
	core := theTask(t, "interlock")
	node := site.Lab.Node(core.node)
	i.keepWorkersFrom(t, node)
	l := startLoad(t)
	began := time.Now()
	check(t, node.Pause(t.Context()))
	time.Sleep(long(30 * time.Second))
	check(t, node.Resume(t.Context()))
	mustHaveSaidStale(t, core, began)
	check(t, site.Lab.WaitConverged(t.Context(), patience))
	time.Sleep(settled)

	for _, w := range site.Lab.Workers() {
		check(t, w.PartitionPort(t.Context(), 2377, site.Lab.Managers()...))
	}
	time.Sleep(long(30 * time.Second))
	r := l.Stop()
	// When the nodes are back, Swarm stops all of their tasks at once, the proxies'
	// too, and starts others: what is misrouted then still counts, what is lost not.
	l = startLoad(t)
	for _, w := range site.Lab.Workers() {
		check(t, w.Heal(t.Context()))
	}
	check(t, site.Lab.WaitConverged(t.Context(), patience))
	i.waitServed(t, demo, 2)
	after := l.Stop()
	r.Misrouted += after.Misrouted
	r.Misroutings = append(r.Misroutings, after.Misroutings...)
	return r
}

// turnAway is how long workers may take to find another manager: 68 s were seen.
const turnAway = 2 * time.Minute

// keepWorkersFrom has workers hear from Swarm through other managers. Where theirs
// stands still they are taken for dead until they do, and Swarm stops their tasks, the
// proxies' too.
func (i *installation) keepWorkersFrom(t *testing.T, manager *lab.Node) {
	t.Helper()
	for _, w := range site.Lab.Workers() {
		check(t, w.PartitionPort(t.Context(), 2377, manager))
	}
	time.Sleep(turnAway)
	check(t, site.Lab.WaitConverged(t.Context(), patience))
	time.Sleep(settled) // in which Swarm stops what it has replaced
	i.waitServed(t, demo, 2)
}

var logTime = regexp.MustCompile(`time=(\S+)`)

// mustHaveSaidStale reads the core's log from its node's disk: while the engine
// stands still nobody else has it, and the engine writes down what it missed later.
func mustHaveSaidStale(t *testing.T, core task, began time.Time) {
	t.Helper()
	path := filepath.Join(filepath.Dir(site.Lab.Node(core.node).RunDir()), "data", "containers", core.container, core.container+"-json.log")
	eventually(t, "the core says that it learns nothing", func(context.Context) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for l := range strings.Lines(string(text)) {
			if !strings.Contains(l, "kind=stale") {
				continue
			}
			at, err := time.Parse(time.RFC3339Nano, logTime.FindStringSubmatch(l)[1])
			if err != nil {
				return err
			}
			if at.Before(began) {
				continue
			}
			within(t, "the core said that it learns nothing", at.Sub(began), staleLimit)
			return nil
		}
		return fmt.Errorf("%s has no such line", path)
	})
}
