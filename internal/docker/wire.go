package docker

import (
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// The wire types name what is read of each object. They keep addresses as
// text, because moby's own types refuse a whole object, and with it its whole
// list, for one address that they do not like, even where nobody asks for it.

type wireService struct {
	ID string
	swarm.Meta
	Spec         wireServiceSpec
	PreviousSpec *wireServiceSpec
	Endpoint     struct {
		Ports      []swarm.PortConfig
		VirtualIPs []struct{ NetworkID, Addr string }
	}
	UpdateStatus swarm.UpdateStatus
}

func (w *wireService) service(r *reading) snapshot.Service {
	s := snapshot.Service{
		ID:        w.ID,
		Version:   w.Version.Index,
		CreatedAt: w.CreatedAt,
		Spec:      fromSwarm(w.Spec.plain()),
		Update:    snapshot.UpdateState(w.UpdateStatus.State),
	}
	if w.PreviousSpec != nil {
		s.PreviousConfigs = configsOf(w.PreviousSpec)
	}
	for _, p := range w.Endpoint.Ports {
		if port := portFromSwarm(p); port.Mode == snapshot.PublishIngress {
			s.Ports = append(s.Ports, port)
		}
	}
	for _, v := range w.Endpoint.VirtualIPs {
		if v.Addr == "" { // not allocated yet, or of a network without addresses
			continue
		}
		addr, err := snapshot.ParsePrefix(v.Addr)
		if err != nil {
			r.fault(fault{kind: "service", id: w.ID, why: fmt.Sprintf("its virtual IP: %v", err)})
			continue
		}
		s.VirtualIPs = append(s.VirtualIPs, snapshot.VirtualIP{NetworkID: v.NetworkID, Addr: addr})
	}
	return s
}

// wireServiceSpec is swarm.ServiceSpec without the one field in it that can
// fail to decode: the name servers of its containers.
type wireServiceSpec struct {
	swarm.ServiceSpec
	TaskTemplate struct {
		swarm.TaskSpec
		ContainerSpec *struct {
			swarm.ContainerSpec
			DNSConfig ignored
		}
	}
}

func (w *wireServiceSpec) plain() swarm.ServiceSpec {
	spec := w.ServiceSpec
	spec.TaskTemplate = w.TaskTemplate.TaskSpec
	if c := w.TaskTemplate.ContainerSpec; c != nil {
		spec.TaskTemplate.ContainerSpec = &c.ContainerSpec
	}
	return spec
}

// configsOf returns the IDs of the configs that a service has as files, sorted.
func configsOf(w *wireServiceSpec) []string {
	var ids []string
	for _, file := range fromSwarm(w.plain()).Configs {
		ids = append(ids, file.ID)
	}
	slices.Sort(ids)
	return ids
}

type ignored struct{}

func (*ignored) UnmarshalJSON([]byte) error { return nil }

type wireTask struct {
	ID string
	swarm.Meta
	ServiceID           string
	NodeID              string
	Slot                int
	Status              swarm.TaskStatus
	DesiredState        string
	NetworksAttachments []struct {
		Network   struct{ ID string }
		Addresses []string
	}
}

func (w *wireTask) task(r *reading) snapshot.Task {
	t := snapshot.Task{
		ID:        w.ID,
		ServiceID: w.ServiceID,
		NodeID:    w.NodeID,
		Slot:      w.Slot,
		CreatedAt: w.CreatedAt,
		State:     snapshot.ParseTaskState(string(w.Status.State)),
		Desired:   snapshot.ParseTaskState(w.DesiredState),
		Message:   w.Status.Message,
		Err:       w.Status.Err,
	}
	if w.Status.ContainerStatus != nil {
		t.ContainerID = w.Status.ContainerStatus.ContainerID
	}
	for _, p := range w.Status.PortStatus.Ports {
		// The engine names a port once for IPv4 and once for IPv6, mostly with
		// one number for both.
		if port := portFromSwarm(p); !slices.Contains(t.Ports, port) {
			t.Ports = append(t.Ports, port)
		}
	}
	for _, a := range w.NetworksAttachments {
		attachment := snapshot.Attachment{NetworkID: a.Network.ID}
		for _, text := range a.Addresses {
			prefix, err := snapshot.ParsePrefix(text)
			if err != nil {
				r.fault(fault{kind: "task", id: w.ID, why: fmt.Sprintf("its address: %v", err)})
				continue
			}
			attachment.Addrs = append(attachment.Addrs, prefix.Addr())
		}
		if len(attachment.Addrs) > 0 {
			t.Attachments = append(t.Attachments, attachment)
		}
	}
	return t
}

type wireNode struct {
	ID            string
	Spec          swarm.NodeSpec
	Description   struct{ Hostname string }
	Status        swarm.NodeStatus
	ManagerStatus swarm.ManagerStatus
}

func (w *wireNode) node() snapshot.Node {
	return snapshot.Node{
		ID:       w.ID,
		Hostname: w.Description.Hostname,
		Addr:     snapshot.NodeAddr(w.Status.Addr, w.ManagerStatus.Addr),
		Ready:    w.Status.State == swarm.NodeStateReady,
		Manager:  w.Spec.Role == swarm.NodeRoleManager,
		Labels:   orNil(w.Spec.Labels),
	}
}

type wireNetwork struct {
	ID      string
	Name    string
	Driver  string
	Ingress bool
	Labels  map[string]string
}

func (w *wireNetwork) network() snapshot.Network {
	return snapshot.Network{ID: w.ID, Name: w.Name, Driver: w.Driver, Ingress: w.Ingress, Labels: orNil(w.Labels)}
}

// wireObject is a secret or a config. The list of configs carries their content
// too, which is skipped here; that of secrets never does.
type wireObject struct {
	ID string
	swarm.Meta
	Spec swarm.Annotations
}

func (w *wireObject) object() snapshot.Object {
	return snapshot.Object{ID: w.ID, Name: w.Spec.Name, CreatedAt: w.CreatedAt, Labels: orNil(w.Spec.Labels)}
}

func portFromSwarm(p swarm.PortConfig) snapshot.Port {
	port := snapshot.Port{
		Protocol:  string(p.Protocol),
		Target:    uint16(p.TargetPort), // Swarm refuses larger ones
		Published: uint16(p.PublishedPort),
		Mode:      snapshot.PublishMode(p.PublishMode),
	}
	if port.Protocol == "" {
		port.Protocol = string(network.TCP)
	}
	if port.Mode == "" {
		port.Mode = snapshot.PublishIngress
	}
	return port
}

// orNil makes an empty map and none the same, as a snapshot has them.
func orNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
