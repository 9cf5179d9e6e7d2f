package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

// Every wait of these tests ends; patience is long because it says nothing
// about how fast Interlock is, which bench/ measures.
const patience = 60 * time.Second

// loadBalancers are the nodes that the walkthrough sets aside for proxies.
var loadBalancers = []string{"lb-00", "lb-01"}

// walkthroughConfig is the file of the walkthrough.
func walkthroughConfig() string {
	return fmt.Sprintf(`ListenAddr = ":8080"
DockerURL = "unix:///var/run/docker.sock"
PollInterval = "3s"

[Extensions]
  [Extensions.default]
    Image = %q
    Args = []
    ServiceName = "interlock-ext"
    ProxyImage = %q
    ProxyArgs = []
    ProxyServiceName = "interlock-proxy"
    ProxyConfigPath = "/etc/nginx/nginx.conf"
    ProxyReplicas = 1
    PublishMode = "host"
    PublishedPort = 80
    TargetPort = 80
    PublishedSSLPort = 443
    TargetSSLPort = 443
    [Extensions.default.Config]
      User = "nginx"
      PidPath = "/var/run/proxy.pid"
      WorkerProcesses = 1
      RlimitNoFile = 65535
      MaxConnections = 2048
`, image("interlock-extension"), image("interlock-proxy"))
}

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
	return &installation{t: t, config: "service.interlock.conf"}
}

// install types the walkthrough up to the point where apps can be deployed,
// with two proxies unless the configuration is given.
func install(t *testing.T, config string) *installation {
	t.Helper()
	i := newInstallation(t)
	for _, name := range loadBalancers {
		docker(t, "node", "update", "--label-add", "nodetype=loadbalancer", name)
	}
	i.create(config)
	waitForService(t, "interlock-proxy")
	docker(t, "service", "update", "--detach", "--constraint-add", "node.labels.nodetype==loadbalancer", "interlock-proxy")
	return i
}

// create makes the Docker config and the core service.
func (i *installation) create(config string, more ...string) {
	i.t.Helper()
	dockerInput(i.t, config, "config", "create", i.config, "-")
	args := []string{
		"service", "create", "--detach", "--name", "interlock",
		"--mount", "src=/var/run/docker.sock,dst=/var/run/docker.sock,type=bind",
		"--constraint", "node.role==manager", "--publish", "mode=host,target=8080",
		"--config", "src=" + i.config + ",target=/config.toml",
	}
	args = append(args, more...)
	docker(i.t, append(args, image("interlock"), "-D", "run", "-c", "/config.toml")...)
}

// reconfigure replaces the core's configuration as the reference shows it.
func (i *installation) reconfigure(config string, more ...string) {
	i.t.Helper()
	i.configs++
	name := fmt.Sprintf("service.interlock.conf.%d", i.configs)
	dockerInput(i.t, config, "config", "create", name, "-")
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
	args := []string{
		"service", "create", "--detach", "--name", name,
		"--label", "com.docker.lb.hosts=" + hosts, "--label", "com.docker.lb.port=8080",
		"--publish", "mode=host,target=8080", "--env", "METADATA=" + name,
	}
	docker(t, append(append(args, more...), image("interlock-demo"))...)
}

// manager is a manager that runs; tests switch some of them off.
func manager() *lab.Node {
	for _, n := range cluster.Managers() {
		if n.Running() {
			return n
		}
	}
	panic("all managers are off")
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	return dockerInput(t, "", args...)
}

func dockerInput(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := manager().DockerInput(context.Background(), input, args...)
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
		_, err := manager().Docker(ctx, "service", "inspect", name)
		return err
	})
}

// pong is the demo app's answer.
type pong struct {
	Instance  string `json:"instance"`
	Version   string `json:"version"`
	Metadata  string `json:"metadata"`
	RequestID string `json:"request_id"`
}

// ping asks the proxy on a node for a host.
func ping(ctx context.Context, node, host string) (lab.Answer, pong, error) {
	answer, err := lab.Curl(ctx, "http://"+cluster.Node(node).Address()+"/ping", "Host: "+host)
	if err != nil {
		return answer, pong{}, err
	}
	var p pong
	if answer.Status != 200 {
		return answer, p, fmt.Errorf("%s answers %d for %s: %.200s", node, answer.Status, host, answer.Body)
	}
	if err := json.Unmarshal([]byte(answer.Body), &p); err != nil {
		return answer, p, fmt.Errorf("the answer %q is not the demo app's: %w", answer.Body, err)
	}
	return answer, p, nil
}

// waitForAnswer waits until the proxies on all given nodes answer for a host
// with the named app.
func waitForAnswer(t *testing.T, host, app string, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		eventually(t, app+" answers for "+host+" on "+node, func(ctx context.Context) error {
			_, p, err := ping(ctx, node, host)
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

// logs returns what the tasks of a service have written, to whichever output.
func logs(ctx context.Context, service string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", "service", "logs", "--raw", service)
	cmd.Env = append(os.Environ(), manager().DockerEnv()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// waitForLog waits until a line of the core's log holds all of the words.
func waitForLog(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the core's log says %q", words), func(ctx context.Context) error {
		out, err := logs(ctx, "interlock")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
		}
		return fmt.Errorf("no such line among the last:\n%s", tail(out, 8))
	})
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// explain logs what one would ask Docker for when a test has failed.
func explain(t *testing.T) {
	ctx := context.Background()
	for _, service := range []string{"interlock", "interlock-ext", "interlock-proxy"} {
		ps, _ := manager().Docker(ctx, "service", "ps", "--no-trunc", service)
		said, _ := logs(ctx, service)
		t.Logf("%s\n%s\n%s", service, ps, tail(said, 40))
	}
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
	for _, kind := range []string{"service", "config", "secret"} {
		removeAll(ctx, t, kind)
	}
	for _, n := range cluster.Nodes() {
		removeContainersAndVolumes(ctx, t, n)
	}
}

func removeAll(ctx context.Context, t *testing.T, kind string) {
	err := lab.Eventually(ctx, patience, func(ctx context.Context) error {
		out, err := manager().Docker(ctx, kind, "ls", "-q")
		if err != nil || out == "" {
			return err
		}
		_, err = manager().Docker(ctx, append([]string{kind, "rm"}, strings.Fields(out)...)...)
		if err != nil {
			return err
		}
		return fmt.Errorf("some were there: look again")
	})
	if err != nil {
		t.Errorf("removing every %s: %v", kind, err)
	}
}

func removeContainersAndVolumes(ctx context.Context, t *testing.T, n *lab.Node) {
	err := lab.Eventually(ctx, patience, func(ctx context.Context) error {
		out, err := n.Docker(ctx, "ps", "-aq")
		if err != nil {
			return err
		}
		if out != "" {
			return fmt.Errorf("containers are left: %s", out)
		}
		volumes, err := n.Docker(ctx, "volume", "ls", "-q")
		if err != nil || volumes == "" {
			return err
		}
		_, err = n.Docker(ctx, append([]string{"volume", "rm"}, strings.Fields(volumes)...)...)
		return err
	})
	if err != nil {
		t.Errorf("clearing %s: %v", n.Name(), err)
	}
}
