package core

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// place is where this core is, as Swarm sees it.
type place struct {
	// endpoint is where extensions reach the core, as HOST:PORT; empty while it
	// is not known. It changes whenever the core's task does.
	endpoint string
	// networks are the IDs of those that extensions need to reach it there.
	networks []string
	// service is the ID of the core's own service; empty outside of Swarm.
	service string
	// leads says that this core may change services. One that is told to stop
	// leaves them to its successor, and one of several to the first.
	leads bool
	// starting says that Swarm does not show the core's task yet.
	starting bool
	// problem says what to do where no endpoint can be known.
	problem *problem.Problem
}

// locate finds the core's place by its own task as Swarm shows it, which
// shows a task's container a moment after it has started: while fresh, a core
// in a container waits for that.
func locate(snap *snapshot.Snapshot, task *snapshot.Task, container, listen, override string, fresh bool) place {
	switch {
	case task == nil && container != "" && fresh:
		return place{starting: true}
	case task == nil:
		return outside(override)
	}
	p := place{service: task.ServiceID, leads: leads(snap, task)}
	p.endpoint, p.networks, p.problem = endpoint(snap, task, listen)
	if override != "" {
		p.endpoint, p.problem = override, nil
	}
	return p
}

// outside is the place of a core that is no task of the Swarm.
func outside(override string) place {
	p := place{leads: true, endpoint: override}
	if override == "" {
		p.problem = unreachable("", "the core does not run as a Swarm service, so extensions cannot be told where it is: set EndpointOverride = \"ADDRESS:PORT\" in config.toml")
	}
	return p
}

func unreachable(service, format string, args ...any) *problem.Problem {
	return &problem.Problem{Kind: problem.NoCoreEndpoint, Service: service, Message: fmt.Sprintf(format, args...)}
}

// endpoint is where extensions reach the core's task, and the networks that they
// need for it: its node's address where its port is published in host mode, else
// its own address on an overlay network, else that of the routing mesh. It is
// empty without a problem while Swarm does not show the port yet, or no longer.
func endpoint(snap *snapshot.Snapshot, task *snapshot.Task, listen string) (string, []string, *problem.Problem) {
	service, name := snap.Service(task.ServiceID), task.ServiceID
	if service != nil {
		name = service.Spec.Name
	}
	port, err := listenPort(listen)
	if err != nil {
		return "", nil, unreachable(name, "ListenAddr %q in config.toml has no port number", listen)
	}
	if _, inHostMode := task.HostPort(port, netip.Addr{}); !inHostMode && !publishes(service, port, snapshot.PublishHost) {
		if network, addr, found := overlay(snap, service, task); found {
			return netip.AddrPortFrom(addr, port).String(), []string{network}, nil
		}
	}
	node := snap.Node(task.NodeID)
	if node == nil || !node.Addr.IsValid() {
		return "", nil, unreachable(name, "Swarm knows no address of the core's node, so extensions cannot be told where it is: set EndpointOverride = \"ADDRESS:PORT\" in config.toml")
	}
	if published := publishedPort(task, service, port, node.Addr); published != 0 {
		return netip.AddrPortFrom(node.Addr, published).String(), nil, nil
	}
	if publishes(service, port, snapshot.PublishHost) || publishes(service, port, snapshot.PublishIngress) {
		return "", nil, nil
	}
	return "", nil, unreachable(name, "its port %[1]d is not published and it is attached to no overlay network, so extensions cannot reach the core: "+
		"docker service update --publish-add mode=host,target=%[1]d %[2]s", port, name)
}

func publishes(s *snapshot.Service, port uint16, mode snapshot.PublishMode) bool {
	return s != nil && slices.ContainsFunc(s.Spec.Ports, func(p snapshot.Port) bool {
		return p.Target == port && p.Protocol == "tcp" && p.Mode == mode
	})
}

// overlay returns the task's place on the first, by name, of the networks that
// its service is attached to.
func overlay(snap *snapshot.Snapshot, service *snapshot.Service, task *snapshot.Task) (id string, addr netip.Addr, found bool) {
	var first *snapshot.Network
	for _, a := range task.Attachments {
		n := snap.Network(a.NetworkID)
		attached := service != nil && slices.Contains(service.Spec.Networks, a.NetworkID)
		if n == nil || n.Ingress || !attached || (first != nil && first.Name < n.Name) {
			continue
		}
		first, addr = n, a.Addrs[0]
	}
	if first == nil {
		return "", netip.Addr{}, false
	}
	return first.ID, addr, true
}

// ownTask finds this process's own task from snapshot to snapshot. The zero
// ownTask has seen none.
type ownTask struct {
	snap *snapshot.Snapshot
	task *snapshot.Task
}

// find goes by the ID of the task's container, of which the process may know the
// beginning only. It is nil outside of Swarm.
func (o *ownTask) find(snap *snapshot.Snapshot, container string) *snapshot.Task {
	if container == "" || o.snap == snap {
		return o.task
	}
	found := o.task
	for before, after := range snapshot.TaskDifferences(o.snap, snap) {
		if before != nil && o.task != nil && before.ServiceID == o.task.ServiceID && found == o.task {
			found = nil
		}
		if after == nil {
			continue
		}
		i := slices.IndexFunc(after.List, func(t *snapshot.Task) bool { return strings.HasPrefix(t.ContainerID, container) })
		if i >= 0 {
			found = after.List[i]
		}
	}
	o.snap, o.task = snap, found
	return found
}

// leads reports whether own is the task of its service that changes services:
// of those that run and are meant to, the one in the first slot.
func leads(snap *snapshot.Snapshot, own *snapshot.Task) bool {
	if own.Desired != snapshot.TaskRunning {
		return false
	}
	for _, t := range snap.TasksOf(own.ServiceID) {
		if t.Runs() && cmp.Or(cmp.Compare(t.Slot, own.Slot), strings.Compare(t.ID, own.ID)) < 0 {
			return false
		}
	}
	return true
}

func listenPort(listen string) (uint16, error) {
	_, text, err := net.SplitHostPort(listen)
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}

// publishedPort prefers the port on the task's own node, which is dialled at
// the given address; one of the routing mesh is answered by every node, so by
// this one too.
func publishedPort(task *snapshot.Task, service *snapshot.Service, target uint16, node netip.Addr) uint16 {
	if published, ok := task.HostPort(target, node); ok {
		return published
	}
	if service == nil {
		return 0
	}
	for _, p := range service.Ports {
		if p.Target == target && p.Protocol == "tcp" && p.Mode == snapshot.PublishIngress && p.Published != 0 {
			return p.Published
		}
	}
	return 0
}
