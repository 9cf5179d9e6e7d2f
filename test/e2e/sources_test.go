package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	dockerapi "github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit"
	"github.com/interlock-lb/interlock/test/lab"
)

// namedConfig is a Docker config that the sources are told of, as custom templates are.
const namedConfig = "template"

// observer is one source at one manager, and what it published last.
type observer struct {
	name string
	run  func(context.Context, func(*snapshot.Snapshot)) error

	mu     sync.Mutex
	latest *snapshot.Snapshot
	ended  error // why run returned last
}

func (o *observer) seen() (latest *snapshot.Snapshot, ended error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest, o.ended
}

// observe runs the source until ctx ends, and again whenever it gives up.
func (o *observer) observe(ctx context.Context) {
	for ctx.Err() == nil {
		err := o.run(ctx, func(s *snapshot.Snapshot) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.latest = s
		})
		o.mu.Lock()
		o.ended = err
		o.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// conformance are both kinds of source at all managers.
type conformance struct {
	t         *testing.T
	clients   []*dockerapi.Client
	kits      []*swarmkit.Source
	observers []*observer
}

func observeSwarm(t *testing.T) *conformance {
	t.Helper()
	c := &conformance{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, client := range c.clients {
			client.Close()
		}
	})
	for _, n := range cluster.Managers() {
		client, err := dockerapi.Dial(ctx, dockerapi.Options{URL: "unix://" + n.Socket(), PollInterval: time.Second, Configs: []string{namedConfig}})
		if err != nil {
			t.Fatal(err)
		}
		c.clients = append(c.clients, client)
		kit := swarmkit.New(swarmkit.Options{
			Socket: filepath.Join(n.RunDir(), "docker", "swarm", "control.sock"), Root: client.TrustRoot, Configs: []string{namedConfig},
			Logger: slog.New(slog.DiscardHandler),
		})
		c.kits = append(c.kits, kit)
		c.observers = append(
			c.observers,
			&observer{name: "the Docker API at " + n.Name(), run: client.Run},
			&observer{name: "SwarmKit's socket at " + n.Name(), run: kit.Run},
		)
	}
	for _, o := range c.observers {
		running.Go(func() { o.observe(ctx) })
	}
	return c
}

// agree waits until all sources see what a new reading sees, and that is what
// the step before was to bring.
func (c *conformance) agree(step string, as func(*snapshot.Snapshot) error) {
	c.t.Helper()
	began := time.Now()
	eventually(c.t, "all sources agree after: "+step, func(ctx context.Context) error {
		now, err := c.read(ctx)
		if err != nil {
			return err
		}
		if err := as(now); err != nil {
			return err
		}
		for _, o := range c.observers {
			latest, ended := o.seen()
			if diff := cmp.Diff(now, latest, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				return fmt.Errorf("%s differs; it ended last with: %w (-the Docker API now, +its latest):\n%s", o.name, ended, tail(diff, 40))
			}
		}
		return nil
	})
	c.t.Logf("%s: agreed after %s", step, time.Since(began).Round(time.Millisecond))
}

// read asks the first manager that answers.
func (c *conformance) read(ctx context.Context) (*snapshot.Snapshot, error) {
	err := errors.New("there is no manager")
	for i, n := range cluster.Managers() {
		if !n.Running() {
			continue
		}
		var s *snapshot.Snapshot
		if s, err = c.clients[i].Snapshot(ctx); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func TestBothSourcesSeeTheSameSwarm(t *testing.T) {
	newInstallation(t)
	c := observeSwarm(t)
	c.agree("an empty Swarm", func(s *snapshot.Snapshot) error {
		return want(len(s.Nodes) == len(cluster.Nodes()) && len(s.Networks) > 0, "every node and the routing mesh's network")
	})
	createServicesOfAllKinds(t)
	c.agree("services of all kinds", func(s *snapshot.Snapshot) error {
		return errors.Join(
			running(s, "full", 2), running(s, "everywhere", len(cluster.Nodes())), running(s, "mesh", 1), running(s, "rounds", 1),
			want(has(s, "missing", snapshot.TaskRejected), "the service without an image is rejected"),
			want(has(s, "crashing", snapshot.TaskFailed), "the crashing service has failed"),
			want(has(s, "waiting", snapshot.TaskPending), "the service without a node waits"),
			want(len(s.Secrets) == 1 && len(s.Configs) == 2, "one secret, and only the configs that are ours or named"),
		)
	})
	changeServices(t)
	c.agree("updates, scaling and labels", func(s *snapshot.Snapshot) error {
		return errors.Join(running(s, "full", 5), want(node(s, "worker-00").Labels["zone"] == "a", "the node's label"))
	})
	churn(t)
	c.agree("ten services that came and went", func(s *snapshot.Snapshot) error { return running(s, "full", 3) })
	docker(t, "service", "rm", "full", "mesh", "rounds", "everywhere", "crashing", "missing", "waiting")
	docker(t, "secret", "rm", "key")
	c.agree("removals", func(s *snapshot.Snapshot) error {
		return want(len(s.Secrets) == 0 && len(s.Tasks) == len(tasksOf(s, "job")), "nothing runs")
	})
}

func TestBothSourcesSeeTheSameSwarmWhenNodesAndLeadersGo(t *testing.T) {
	newInstallation(t)
	c := observeSwarm(t)
	createApp(t, "demo", "demo.local", "--replicas", "4", "--constraint", "node.role==worker")
	c.agree("an app", func(s *snapshot.Snapshot) error { return running(s, "demo", 4) })

	lost := cluster.Node("worker-00")
	lose(t, lost)
	c.agree("a lost worker", func(s *snapshot.Snapshot) error { return want(!node(s, lost.Name()).Ready, "the node is down") })
	regain(t, lost)
	c.agree("its return", func(s *snapshot.Snapshot) error { return want(node(s, lost.Name()).Ready, "the node is back") })

	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lose(t, leader)
	docker(t, "service", "scale", "--detach", "demo=2")
	regain(t, leader)
	c.agree("another leader, and the return of the one before", func(s *snapshot.Snapshot) error {
		return errors.Join(running(s, "demo", 2), want(node(s, leader.Name()).Ready, "the manager is back"))
	})
}

func TestTheSocketIsTrustedThroughANewRoot(t *testing.T) {
	newInstallation(t)
	c := observeSwarm(t)
	docker(t, "swarm", "ca", "--rotate", "--detach")
	createApp(t, "shop", "shop.local", "--constraint", "node.role==worker")
	c.agree("a change while the Swarm's root is replaced", func(s *snapshot.Snapshot) error { return running(s, "shop", 1) })
	for i, n := range cluster.Managers() {
		for range 2 { // with the certificate of before, or the one that it gets meanwhile
			eventually(t, "a new connection to "+n.Name(), func(ctx context.Context) error {
				_, err := c.kits[i].Snapshot(ctx)
				return err
			})
			waitForNewRoot(t)
		}
	}
	follower := cluster.Managers()[1]
	lose(t, follower)
	regain(t, follower)
	docker(t, "service", "scale", "--detach", "shop=2")
	c.agree("a manager's new socket with a certificate of the new root", func(s *snapshot.Snapshot) error {
		return errors.Join(running(s, "shop", 2), want(node(s, follower.Name()).Ready, "the manager is back"))
	})
}

// waitForNewRoot waits until every node has a certificate of the new root, which
// Swarm sees to one node after another.
func waitForNewRoot(t *testing.T) {
	t.Helper()
	eventually(t, "all nodes have a certificate of the new root", func(ctx context.Context) error {
		status, err := site.Docker(ctx, "node", "ls", "--format", "{{.TLSStatus}}")
		if err == nil && strings.Count(status, "Ready") != len(cluster.Nodes()) {
			err = errors.New(strings.Join(strings.Fields(status), " "))
		}
		return err
	})
}

func createServicesOfAllKinds(t *testing.T) {
	t.Helper()
	create := func(name string, args ...string) {
		docker(t, append([]string{"service", "create", "--detach", "--name", name}, args...)...)
	}
	demo := image("interlock-demo")
	docker(t, "network", "create", "--driver", "overlay", "--label", "of=test", "--attachable", "front")
	docker(t, "network", "create", "--driver", "overlay", "--ipv6", "--subnet", "10.77.0.0/24", "--subnet", "fd77::/64", "back")
	for _, one := range []struct{ kind, name string }{{"secret", "key"}, {"config", "key"}, {"config", namedConfig}} {
		if _, err := site.DockerInput(t.Context(), "not to be seen", one.kind, "create", "--label", "a=b", one.name, "-"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := site.DockerInput(t.Context(), "ours", "config", "create", "--label", plan.LabelRole+"=test", "ours", "-"); err != nil {
		t.Fatal(err)
	}
	create("full", "--replicas", "2", "--label", "com.docker.lb.hosts=full.local", "--label", "empty=", "--container-label", "c=d",
		"--env", "A=1", "--env", "B=x=y", "--publish", "mode=host,target=8080", "--publish", "mode=host,target=9090,protocol=udp",
		"--network", "front", "--network", "back", "--secret", "source=key,target=tls.key,uid=5,mode=0400", "--config", "source=ours,target=/ours",
		"--mount", "type=volume,source=data,target=/data", "--mount", "type=tmpfs,target=/tmp", "--mount", "type=bind,source=/etc,target=/host,readonly",
		"--constraint", "node.role==worker", "--placement-pref", "spread=node.labels.zone", "--stop-grace-period", "3s", "--stop-signal", "SIGINT",
		"--update-delay", "1s", "--update-failure-action", "continue", "--update-monitor", "1s", "--update-order", "start-first", "--restart-delay", "2s", "--read-only", "--cap-drop", "NET_RAW",
		"--cap-add", "NET_ADMIN", "--sysctl", "net.ipv4.tcp_keepalive_time=60", demo)
	create("everywhere", "--mode", "global", "--network", "front", demo)
	create("mesh", "--publish", "published=18080,target=8080", "--network", "front", demo)
	create("rounds", "--endpoint-mode", "dnsrr", "--network", "back", demo)
	create("crashing", "--restart-delay", "1h", "--entrypoint", "/nothing", demo)
	create("missing", "--restart-delay", "1h", cluster.Image("nothing-of-this-name"))
	create("waiting", "--constraint", "node.labels.there==never", demo)
	// A job that fails is tried again at once and for ever: nothing would settle.
	create("job", "--mode", "replicated-job", "--replicas", "3", "--max-concurrent", "2", image("interlock"), "--version")
	docker(t, "run", "--detach", "--name", "alone", "--network", "front", demo)
	t.Cleanup(func() { docker(t, "rm", "--force", "alone") })
}

func changeServices(t *testing.T) {
	t.Helper()
	docker(t, "service", "update", "--detach", "--env-add", "A=2", "--label-rm", "empty", "--replicas", "5", "--publish-rm", "9090/udp", "--update-order", "stop-first", "--restart-delay", "0s", "full")
	docker(t, "service", "update", "--detach", "--network-rm", "front", "mesh")
	docker(t, "node", "update", "--label-add", "zone=a", "worker-00")
	docker(t, "node", "update", "--availability", "drain", "worker-01")
	t.Cleanup(func() { docker(t, "node", "update", "--availability", "active", "worker-01") })
	docker(t, "service", "update", "--detach", "--force", "everywhere")
}

func churn(t *testing.T) {
	t.Helper()
	for i := range 10 {
		createApp(t, fmt.Sprintf("brief-%d", i), "brief.local")
		docker(t, "service", "scale", "--detach", fmt.Sprintf("full=%d", i%4+1))
	}
	docker(t, "service", "scale", "--detach", "full=3")
	for i := range 10 {
		docker(t, "service", "rm", fmt.Sprintf("brief-%d", i))
	}
}

// lose pulls a node's plug, and waits until the others have noticed.
func lose(t *testing.T, n *lab.Node) {
	t.Helper()
	if err := n.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
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
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
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
