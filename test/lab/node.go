package lab

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

//go:embed node.sh
var nodeScript []byte

// engineTimeout bounds how long an engine may take until it answers. Alone it
// takes a second; eight at once share the machine's cores.
const engineTimeout = time.Minute

// Role is what a node is to the Swarm.
type Role string

// The roles.
const (
	Manager Role = "manager"
	Worker  Role = "worker"
)

// Node is one engine of a lab.
type Node struct {
	machine
	lab   *Lab
	name  string
	role  Role
	octet int

	// power is held while the node is switched on or off.
	power sync.Mutex
}

// Name is the node's name and host name, such as manager-00 or lb-01.
func (n *Node) Name() string { return n.name }

// Role is what the node joined the Swarm as.
func (n *Node) Role() Role { return n.role }

// Address is the node's IPv4 address, which this machine can reach.
func (n *Node) Address() string { return n.lab.state.address(n.octet) }

// Socket is the path of the engine's socket on this machine, also while the
// node is off.
func (n *Node) Socket() string { return filepath.Join(n.RunDir(), "docker.sock") }

// RunDir is the folder on this machine that the node sees as /run. A manager's
// docker/swarm/control.sock is in it.
func (n *Node) RunDir() string { return filepath.Join(n.dir, "run") }

// Running says whether the node is switched on, paused or not.
func (n *Node) Running() bool { return n.running() }

// PID is the number of the node's first process, by which nsenter finds its
// namespaces, or 0 if the node is off.
func (n *Node) PID() int {
	p, err := n.process()
	if err != nil || !p.alive() {
		return 0
	}
	return p.pid
}

// Docker runs the docker command with these arguments against the node's engine
// and returns what it printed, without the final newline. The legacy builder
// builds, and no settings of the user's apply. Without a deadline in ctx the
// command has five minutes.
func (n *Node) Docker(ctx context.Context, args ...string) (string, error) {
	return n.DockerInput(ctx, "", args...)
}

// DockerInput is Docker with the text on the command's standard input.
func (n *Node) DockerInput(ctx context.Context, input string, args ...string) (string, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dockerTimeout)
		defer cancel()
	}
	out, err := run(ctx, n.DockerEnv(), input, "docker", args...)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", n.name, err)
	}
	return out, nil
}

// DockerEnv is the environment in which a docker command, or another program
// that follows the same conventions, talks to the node's engine.
func (n *Node) DockerEnv() []string {
	return []string{
		"DOCKER_HOST=unix://" + n.Socket(),
		"DOCKER_CONFIG=" + filepath.Join(n.lab.dir, "docker"),
		"DOCKER_BUILDKIT=0",
		"DOCKER_CLI_HINTS=false",
	}
}

// Start switches the node on, with the data that it has, and waits until its
// engine answers; the Swarm may take longer to see it. Its cable is plugged in
// again, whatever it was before; a partition stays.
func (n *Node) Start(ctx context.Context) error {
	n.power.Lock()
	defer n.power.Unlock()
	if n.Running() {
		return fmt.Errorf("start %s: it runs already", n.name)
	}
	if err := n.start(ctx); err != nil {
		// A caller that gave up still wants the node off.
		off := n.powerOff(context.WithoutCancel(ctx))
		return errors.Join(fmt.Errorf("start %s: %w", n.name, err), off)
	}
	return nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.furnish(); err != nil {
		return err
	}
	env := []string{"NAME=" + n.name, "ADDRESS=" + n.lab.state.addressWithMask(n.octet)}
	plug := func(pid int) error { return n.lab.fabric.plug(ctx, n, pid) }
	if err := n.boot(nodeScript, env, plug); err != nil {
		return err
	}
	if err := Eventually(ctx, engineTimeout, n.answers); err != nil {
		return n.explain(ctx, fmt.Errorf("its engine does not answer: %w", err))
	}
	if n.lab.state.Detached {
		return n.stay()
	}
	return nil
}

// answers asks the engine whether it is there.
func (n *Node) answers(ctx context.Context) error {
	if !n.Running() {
		return errors.New("the node is off")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.Socket())
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", http.NoBody)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the engine answers with status %d", response.StatusCode)
	}
	return nil
}

// furnish makes what a node finds when it boots: its data as it was, and a /run
// as empty as after any boot.
func (n *Node) furnish() error {
	if err := os.RemoveAll(n.RunDir()); err != nil {
		return err
	}
	if err := removeCgroups(n.cgroup()); err != nil {
		return err
	}
	for _, d := range []string{"run", "data", "etc/docker", "etc.work"} {
		if err := os.MkdirAll(filepath.Join(n.dir, d), 0o755); err != nil {
			return err
		}
	}
	// Nothing answers there: what is not in the lab is quickly not found.
	if err := os.WriteFile(filepath.Join(n.dir, "etc/resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		return err
	}
	settings, err := json.MarshalIndent(n.engineSettings(), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.dir, "daemon.json"), settings, 0o600)
}

func (n *Node) engineSettings() map[string]any {
	registry := n.lab.Registry()
	return map[string]any{
		"data-root":           filepath.Join(n.dir, "data"),
		"exec-root":           "/run/docker",
		"pidfile":             "/run/docker.pid",
		"hosts":               []string{"unix:///run/docker.sock"},
		"exec-opts":           []string{"native.cgroupdriver=cgroupfs"},
		"cgroup-parent":       n.cgroup(),
		"insecure-registries": []string{registry},
		// An image name without a registry's is found in the lab's, too.
		"registry-mirrors": []string{"http://" + registry},
		// No name server listens there; it refuses at once.
		"dns": []string{n.lab.state.address(switchOctet)},
	}
}

func (n *Node) cgroup() string { return cgroupOf(n.lab.state.ID) + "/" + n.name }
