package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// Every wait of these tests ends; patience is long because it says nothing
// about how fast Interlock is, which bench/ measures.
const patience = 3 * time.Minute

// loadBalancers are the nodes that the walkthrough sets aside for proxies.
var loadBalancers = walkthrough.LoadBalancers()

// installation is Interlock on the shared Swarm, removed when its test ends.
type installation struct {
	t       *testing.T
	config  string // name of the present Docker config
	configs int
}

// newInstallation prepares the Swarm and installs nothing yet.
func newInstallation(t *testing.T) *installation {
	t.Helper()
	lab.Require(t)
	t.Cleanup(func() {
		if t.Failed() {
			explain(t)
		}
		removeEverything(t)
	})
	return &installation{t: t, config: walkthrough.ConfigName}
}

// install types the walkthrough up to the point where apps can be deployed,
// with two proxies unless the configuration is given.
func install(t *testing.T, config string) *installation {
	t.Helper()
	i := newInstallation(t)
	if err := site.SetLoadBalancersAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.create(config)
	waitForService(t, "interlock-proxy")
	docker(t, "service", "update", "--detach", "--constraint-add", "node.labels.nodetype==loadbalancer", "interlock-proxy")
	return i
}

// create makes the Docker config and the core service.
func (i *installation) create(config string) {
	i.t.Helper()
	if err := site.StoreConfig(i.t.Context(), i.config, config); err != nil {
		i.t.Fatal(err)
	}
	if err := site.CreateCore(i.t.Context(), i.config); err != nil {
		i.t.Fatal(err)
	}
}

// reconfigure replaces the core's configuration as the reference shows it.
func (i *installation) reconfigure(config string, more ...string) {
	i.t.Helper()
	i.configs++
	name := fmt.Sprintf("service.interlock.conf.%d", i.configs)
	if err := site.StoreConfig(i.t.Context(), name, config); err != nil {
		i.t.Fatal(err)
	}
	args := []string{
		"service", "update", "--detach", "--config-rm", i.config,
		"--config-add", "source=" + name + ",target=/config.toml",
	}
	docker(i.t, append(append(args, more...), "interlock")...)
	i.config = name
}

// createApp deploys a demo app in host mode.
func createApp(t *testing.T, name string, hosts string, more ...string) {
	t.Helper()
	if err := site.CreateApp(t.Context(), name, hosts, more...); err != nil {
		t.Fatal(err)
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := site.Docker(context.Background(), args...)
	if err != nil {
		t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	if err := lab.Eventually(t.Context(), patience, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func waitForService(t *testing.T, name string) {
	t.Helper()
	eventually(t, "service "+name+" exists", func(ctx context.Context) error {
		_, err := site.Docker(ctx, "service", "inspect", name)
		return err
	})
}

// waitForAnswer waits until the proxies on all given nodes answer for a host
// with the named app.
func waitForAnswer(t *testing.T, host, app string, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		eventually(t, app+" answers for "+host+" on "+node, func(ctx context.Context) error {
			_, p, err := site.Ping(ctx, node, host)
			if err == nil && p.Metadata != app {
				err = fmt.Errorf("%s answers", p.Metadata)
			}
			return err
		})
	}
}

// waitForStatus waits until the proxy on a node answers with a status.
func waitForStatus(t *testing.T, node, host string, status int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s answers %d for %s", node, status, host), func(ctx context.Context) error {
		answer, err := lab.Curl(ctx, "http://"+cluster.Node(node).Address()+"/ping", "Host: "+host)
		if err == nil && answer.Status != status {
			err = fmt.Errorf("it answers %d: %.200s", answer.Status, answer.Body)
		}
		return err
	})
}

// proxyNodes lists the nodes on which proxies run, sorted.
func proxyNodes(t *testing.T) []string {
	t.Helper()
	out := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}", "interlock-proxy")
	var nodes []string
	for line := range strings.Lines(out) {
		if node, state, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(state, "Running") {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// waitForProxies waits until proxies run on exactly these nodes.
func waitForProxies(t *testing.T, nodes ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("proxies run on %v", nodes), func(context.Context) error {
		if got := proxyNodes(t); !slices.Equal(got, nodes) {
			return fmt.Errorf("they run on %v", got)
		}
		return nil
	})
}

// removeEverything puts the Swarm back to what it was: every node on, no
// services, configs, secrets or volumes.
func removeEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for _, n := range cluster.Nodes() {
		if !n.Running() {
			if err := n.Start(ctx); err != nil {
				t.Errorf("switching %s on again: %v", n.Name(), err)
			}
		}
		if err := n.Heal(ctx); err != nil {
			t.Errorf("healing %s: %v", n.Name(), err)
		}
	}
	if err := cluster.WaitConverged(ctx, patience); err != nil {
		t.Errorf("the Swarm does not come back: %v", err)
	}
	if err := site.Clear(ctx); err != nil {
		t.Error(err)
	}
}
