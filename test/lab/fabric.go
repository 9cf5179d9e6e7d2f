package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed switch.sh
var switchScript []byte

const (
	registryPort    = "5000"
	registryTimeout = 15 * time.Second
)

// fabric is the switch: the machine that holds the bridge between the nodes and
// the host, filters what passes it, and runs the registry.
type fabric struct {
	machine
	state *state
}

func (f *fabric) start(ctx context.Context, nodes []*Node) error {
	if err := f.furnish(); err != nil {
		return err
	}
	env := []string{"ADDRESS=" + f.state.addressWithMask(switchOctet), "MAC=" + f.state.mac(switchOctet)}
	err := f.boot(switchScript, env, func(pid int) error { return f.plugHost(ctx, pid) })
	if err != nil {
		return err
	}
	err = Eventually(ctx, registryTimeout, func(ctx context.Context) error {
		if !f.running() {
			return errors.New("the switch is off")
		}
		answer, err := Curl(ctx, "http://"+f.registry()+"/v2/")
		if err == nil && answer.Status != http.StatusOK {
			return fmt.Errorf("the registry answers with status %d", answer.Status)
		}
		return err
	})
	if err != nil {
		return f.explain(ctx, err)
	}
	return f.makeChains(ctx, nodes)
}

func (f *fabric) furnish() error {
	for _, d := range []string{"run", "images"} {
		if err := os.MkdirAll(filepath.Join(f.dir, d), 0o755); err != nil {
			return err
		}
	}
	settings := fmt.Sprintf(`version: 0.1
log: {level: warn}
http: {addr: "%s"}
storage:
  filesystem: {rootdirectory: "%s"}
`, f.registry(), filepath.Join(f.dir, "images"))
	return os.WriteFile(filepath.Join(f.dir, "registry.yml"), []byte(settings), 0o600)
}

func (f *fabric) registry() string {
	return net.JoinHostPort(f.state.address(switchOctet), registryPort)
}

// plugHost lays the cable between the host and the switch.
func (f *fabric) plugHost(ctx context.Context, pid int) error {
	link := f.state.hostLink()
	return ipBatch(ctx, nil,
		fmt.Sprintf("link add %s type veth peer name host netns %d", link, pid),
		fmt.Sprintf("address add %s dev %s", f.state.addressWithMask(hostOctet), link),
		fmt.Sprintf("link set %s up", link))
}

// plug lays the cable between a node and the switch; its end at the switch has
// the node's name. The hardware address stays the same over the node's restarts,
// as it does with a real network card.
func (f *fabric) plug(ctx context.Context, n *Node, pid int) error {
	if err := f.unplug(ctx, n); err != nil {
		return err
	}
	return f.ip(ctx,
		fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %d", n.name, f.state.mac(n.octet), pid),
		fmt.Sprintf("link set %s master br0 up", n.name))
}

// unplug takes away a node's cable, if it has one. With the node's namespace it
// goes by itself, but only some time after its processes.
func (f *fabric) unplug(ctx context.Context, n *Node) error {
	err := f.ip(ctx, "link del "+n.name)
	if err != nil && strings.Contains(err.Error(), "Cannot find device") {
		return nil
	}
	return err
}

func (f *fabric) ip(ctx context.Context, commands ...string) error {
	inside, err := f.inside()
	if err != nil {
		return err
	}
	return ipBatch(ctx, inside, commands...)
}

// inside is the command that runs another one in the switch's network.
func (f *fabric) inside() ([]string, error) {
	p, err := f.process()
	if err != nil {
		return nil, err
	}
	if !p.alive() {
		return nil, errors.New("the switch is off")
	}
	return []string{"nsenter", "--target", strconv.Itoa(p.pid), "--net", "--mount"}, nil
}

func ipBatch(ctx context.Context, prefix []string, commands ...string) error {
	return runIn(ctx, prefix, strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
}

func runIn(ctx context.Context, prefix []string, stdin string, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	command = append(prefix, command...)
	_, err := run(ctx, nil, stdin, command[0], command[1:]...)
	return err
}
