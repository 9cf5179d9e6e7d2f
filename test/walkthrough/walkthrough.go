// Package walkthrough types the commands of the host-mode walkthrough on a lab,
// with images made from this checkout. Tests and benchmarks share it.
//
// It knows Interlock from outside only, as its users do. It asserts nothing, and
// it waits for nothing but the Swarm to be empty again.
package walkthrough

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/interlock-lb/interlock/test/lab"
)

// ConfigName is the Docker config that holds the core's configuration.
const ConfigName = "service.interlock.conf"

// LoadBalancers are the nodes that the walkthrough sets aside for proxies.
func LoadBalancers() []string { return []string{"lb-00", "lb-01"} }

// Site is a lab to install Interlock on.
type Site struct {
	// Lab may be nil for as long as only texts are asked for.
	Lab *lab.Lab
	// Version tags the images.
	Version string
}

// Image is the name of one of the project's images, such as "interlock-demo".
func (s *Site) Image(name string) string { return name + ":" + s.Version }

// BuildImages makes the images on one of the lab's engines, as `make images`
// does for anybody, and pushes them to the lab's registry. Checkout is the folder
// of the Makefile.
func (s *Site) BuildImages(ctx context.Context, checkout string) error {
	cmd := exec.CommandContext(ctx, "make", "-s", "-C", checkout, "images", "VERSION="+s.Version)
	cmd.Env = append(os.Environ(), s.Lab.Builder().DockerEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make images: %w\n%s", err, out)
	}
	return s.Lab.PushImages(ctx, s.Image("interlock"), s.Image("interlock-extension"), s.Image("interlock-proxy"), s.Image("interlock-proxy-native"), s.Image("interlock-demo"))
}

// Manager is a manager that runs; faults switch some of them off.
func (s *Site) Manager() (*lab.Node, error) {
	for _, n := range s.Lab.Managers() {
		if n.Running() {
			return n, nil
		}
	}
	return nil, errors.New("all managers are off")
}

// Docker runs a docker command on a manager that runs.
func (s *Site) Docker(ctx context.Context, args ...string) (string, error) {
	return s.DockerInput(ctx, "", args...)
}

// DockerInput is Docker with the text on the command's standard input.
func (s *Site) DockerInput(ctx context.Context, input string, args ...string) (string, error) {
	manager, err := s.Manager()
	if err != nil {
		return "", err
	}
	return manager.DockerInput(ctx, input, args...)
}

// SetLoadBalancersAside labels the nodes that shall run proxies.
func (s *Site) SetLoadBalancersAside(ctx context.Context) error {
	for _, name := range LoadBalancers() {
		if _, err := s.Docker(ctx, "node", "update", "--label-add", "nodetype=loadbalancer", name); err != nil {
			return err
		}
	}
	return nil
}

// StoreConfig makes a Docker config of a text.
func (s *Site) StoreConfig(ctx context.Context, name, text string) error {
	_, err := s.DockerInput(ctx, text, "config", "create", name, "-")
	return err
}

// CreateCore starts the core with the configuration that stands in a Docker
// config, and does not wait for it.
func (s *Site) CreateCore(ctx context.Context, config string, more ...string) error {
	args := []string{
		"service", "create", "--detach", "--name", "interlock",
		"--mount", "src=/var/run/docker.sock,dst=/var/run/docker.sock,type=bind",
		"--constraint", "node.role==manager", "--publish", "mode=host,target=8080",
		"--config", "src=" + config + ",target=/config.toml",
	}
	args = append(args, more...)
	_, err := s.Docker(ctx, append(args, s.Image("interlock"), "-D", "run", "-c", "/config.toml")...)
	return err
}

// CreateApp deploys a demo app in host mode that answers with its name as the
// metadata, and does not wait for it.
func (s *Site) CreateApp(ctx context.Context, name, hosts string, more ...string) error {
	args := []string{
		"service", "create", "--detach", "--name", name,
		"--label", "com.docker.lb.hosts=" + hosts, "--label", "com.docker.lb.port=8080",
		"--publish", "mode=host,target=8080", "--env", "METADATA=" + name,
	}
	_, err := s.Docker(ctx, append(append(args, more...), s.Image("interlock-demo"))...)
	return err
}

// Pong is the demo app's answer.
type Pong struct {
	// Instance is the beginning of the ID of the task's container.
	Instance  string `json:"instance"`
	Version   string `json:"version"`
	Metadata  string `json:"metadata"`
	RequestID string `json:"request_id"`
}

// Ping asks the proxy on a node for a host, on a connection of its own. Whatever
// is not the demo app's answer is an error.
func (s *Site) Ping(ctx context.Context, node, host string) (lab.Answer, Pong, error) {
	answer, err := lab.Curl(ctx, "http://"+s.Lab.Node(node).Address()+"/ping", "Host: "+host)
	if err != nil {
		return answer, Pong{}, err
	}
	var p Pong
	if answer.Status != http.StatusOK {
		return answer, p, fmt.Errorf("%s answers %d for %s: %.200s", node, answer.Status, host, answer.Body)
	}
	if err := json.Unmarshal([]byte(answer.Body), &p); err != nil {
		return answer, p, fmt.Errorf("the answer %q is not the demo app's: %w", answer.Body, err)
	}
	return answer, p, nil
}

// Config is the walkthrough's config.toml.
func (s *Site) Config() string {
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
`, s.Image("interlock-extension"), s.Image("interlock-proxy"))
}

// ConfigWith is Config with one line replaced. It panics if there is no such line.
func (s *Site) ConfigWith(line, replacement string) string {
	config := s.Config()
	if !strings.Contains(config, line) {
		panic("the configuration has no line " + line)
	}
	return strings.Replace(config, line, replacement, 1)
}

// Kinds are the kinds of proxy that the walkthrough can install.
func Kinds() []string { return []string{"native", "nginx"} }

// ConfigFor is Config for one kind of proxy, with two of them, and with the
// constraint in it that the walkthrough adds by hand.
func (s *Site) ConfigFor(kind string) string {
	config := strings.NewReplacer(
		"ProxyReplicas = 1", "ProxyReplicas = 2",
		"ProxyArgs = []", "ProxyArgs = []\n    ProxyConstraints = [\"node.labels.nodetype==loadbalancer\"]",
	).Replace(s.Config())
	if kind == "native" {
		config = strings.NewReplacer(
			"    Args = []", `    Args = ["native"]`, strconv.Quote(s.Image("interlock-proxy")), strconv.Quote(s.Image("interlock-proxy-native")),
		).Replace(config)
	}
	return config
}
