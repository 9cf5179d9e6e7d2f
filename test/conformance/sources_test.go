package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/test/lab"
)

func TestBothSourcesSeeTheSameSwarm(t *testing.T) {
	site.Lab = lab.New(t, lab.Options{})
	check(t, site.BuildImages(t.Context(), "../.."))
	for _, step := range []struct {
		name    string
		happens func(*testing.T, *conformance)
	}{
		{"services change", servicesChange},
		{"nodes and leaders go", nodesAndLeadersGo},
		{"the root is replaced", theRootIsReplaced},
	} {
		t.Run(step.name, func(t *testing.T) {
			t.Cleanup(func() { restore(t) })
			step.happens(t, observeSwarm(t))
		})
	}
}

func servicesChange(t *testing.T, c *conformance) {
	c.agree("an empty Swarm", func(s *snapshot.Snapshot) error {
		return want(len(s.Nodes) == len(site.Lab.Nodes()) && len(s.Networks) > 0, "every node and the routing mesh's network")
	})
	createServicesOfAllKinds(t)
	c.agree("services of all kinds", func(s *snapshot.Snapshot) error {
		return errors.Join(
			running(s, "full", 2), running(s, "everywhere", len(site.Lab.Nodes())), running(s, "mesh", 1), running(s, "rounds", 1),
			want(has(s, "missing", snapshot.TaskRejected), "the service without an image is rejected"),
			want(has(s, "crashing", snapshot.TaskFailed), "the crashing service has failed"),
			want(has(s, "waiting", snapshot.TaskPending), "the service without a node waits"),
			want(len(s.Secrets) == 1 && len(s.Configs) == 1, "one secret, and only the config that is ours"),
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

func nodesAndLeadersGo(t *testing.T, c *conformance) {
	check(t, site.CreateApp(t.Context(), "demo", "demo.local", "--replicas", "4", "--constraint", "node.role==worker"))
	c.agree("an app", func(s *snapshot.Snapshot) error { return running(s, "demo", 4) })

	lost := site.Lab.Node("worker-00")
	lose(t, lost)
	c.agree("a lost worker", func(s *snapshot.Snapshot) error { return want(!node(s, lost.Name()).Ready, "the node is down") })
	regain(t, lost)
	c.agree("its return", func(s *snapshot.Snapshot) error { return want(node(s, lost.Name()).Ready, "the node is back") })

	leader, err := site.Lab.Leader(t.Context())
	check(t, err)
	lose(t, leader)
	docker(t, "service", "scale", "--detach", "demo=2")
	regain(t, leader)
	c.agree("another leader, and the return of the one before", func(s *snapshot.Snapshot) error {
		return errors.Join(running(s, "demo", 2), want(node(s, leader.Name()).Ready, "the manager is back"))
	})
}

// theRootIsReplaced is about the socket, whose certificates are of that root.
func theRootIsReplaced(t *testing.T, c *conformance) {
	docker(t, "swarm", "ca", "--rotate", "--detach")
	check(t, site.CreateApp(t.Context(), "shop", "shop.local", "--constraint", "node.role==worker"))
	c.agree("a change while the Swarm's root is replaced", func(s *snapshot.Snapshot) error { return running(s, "shop", 1) })
	for i, n := range site.Lab.Managers() {
		for range 2 { // with the certificate of before, or the one that it gets meanwhile
			eventually(t, "a new connection to "+n.Name(), func(ctx context.Context) error {
				_, err := c.kits[i].Snapshot(ctx)
				return err
			})
			waitForNewRoot(t)
		}
	}
	follower := site.Lab.Managers()[1]
	lose(t, follower)
	regain(t, follower)
	docker(t, "service", "scale", "--detach", "shop=2")
	c.agree("a manager's new socket with a certificate of the new root", func(s *snapshot.Snapshot) error {
		return errors.Join(running(s, "shop", 2), want(node(s, follower.Name()).Ready, "the manager is back"))
	})
}

func createServicesOfAllKinds(t *testing.T) {
	t.Helper()
	create := func(name string, args ...string) {
		docker(t, append([]string{"service", "create", "--detach", "--name", name}, args...)...)
	}
	demo := site.Image("interlock-demo")
	docker(t, "network", "create", "--driver", "overlay", "--label", "of=test", "--attachable", "front")
	docker(t, "network", "create", "--driver", "overlay", "--ipv6", "--subnet", "10.77.0.0/24", "--subnet", "fd77::/64", "back")
	for _, kind := range []string{"secret", "config"} {
		_, err := site.DockerInput(t.Context(), "not to be seen", kind, "create", "--label", "a=b", "key", "-")
		check(t, err)
	}
	_, err := site.DockerInput(t.Context(), "ours", "config", "create", "--label", plan.LabelRole+"=test", "ours", "-")
	check(t, err)
	create("full", "--replicas", "2", "--label", "com.docker.lb.hosts=full.local", "--label", "empty=", "--container-label", "c=d",
		"--env", "A=1", "--env", "B=x=y", "--publish", "mode=host,target=8080", "--publish", "mode=host,target=9090,protocol=udp",
		"--network", "front", "--network", "back", "--secret", "source=key,target=tls.key,uid=5,mode=0400", "--config", "source=ours,target=/ours",
		"--mount", "type=volume,source=data,target=/data", "--mount", "type=tmpfs,target=/tmp", "--mount", "type=bind,source=/etc,target=/host,readonly",
		"--constraint", "node.role==worker", "--placement-pref", "spread=node.labels.zone", "--stop-grace-period", "3s", "--stop-signal", "SIGINT",
		"--update-delay", "1s", "--update-failure-action", "continue", "--update-monitor", "1s", "--update-order", "start-first", "--restart-delay", "2s", "--read-only", "--cap-drop", "NET_RAW", demo)
	create("everywhere", "--mode", "global", "--network", "front", demo)
	create("mesh", "--publish", "published=18080,target=8080", "--network", "front", demo)
	create("rounds", "--endpoint-mode", "dnsrr", "--network", "back", demo)
	create("crashing", "--restart-delay", "1h", "--entrypoint", "/nothing", demo)
	create("missing", "--restart-delay", "1h", site.Lab.Image("nothing-of-this-name"))
	create("waiting", "--constraint", "node.labels.there==never", demo)
	// A job that fails is tried again at once and for ever: nothing would settle.
	create("job", "--mode", "replicated-job", "--replicas", "3", "--max-concurrent", "2", site.Image("interlock"), "--version")
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
		check(t, site.CreateApp(t.Context(), fmt.Sprintf("brief-%d", i), "brief.local"))
		docker(t, "service", "scale", "--detach", fmt.Sprintf("full=%d", i%4+1))
	}
	docker(t, "service", "scale", "--detach", "full=3")
	for i := range 10 {
		docker(t, "service", "rm", fmt.Sprintf("brief-%d", i))
	}
}
