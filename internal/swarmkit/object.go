package swarmkit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// taskFrom is false for what is no container of a service, as a plugin's task:
// the Docker API does not list those either.
func taskFrom(raw *swarmpb.Task) (t snapshot.Task, faults []string, ok bool) {
	if raw.GetSpec().GetContainer() == nil {
		return t, nil, false
	}
	status := raw.GetStatus()
	t = snapshot.Task{
		ID:          raw.GetId(),
		ServiceID:   raw.GetServiceId(),
		NodeID:      raw.GetNodeId(),
		Slot:        int(raw.GetSlot()), // a replica's number
		CreatedAt:   createdAt(raw.GetMeta()),
		State:       stateFrom(status.GetState()),
		Desired:     stateFrom(raw.GetDesiredState()),
		Message:     status.GetMessage(),
		Err:         status.GetErr(),
		ContainerID: status.GetContainer().GetId(),
	}
	for _, p := range status.GetPorts().GetList() {
		// The engine names a port once for IPv4 and once for IPv6.
		if port := portFrom(p); !slices.Contains(t.Ports, port) {
			t.Ports = append(t.Ports, port)
		}
	}
	for _, a := range raw.GetNetworks() {
		attachment := snapshot.Attachment{NetworkID: a.GetNetwork().GetId()}
		for _, text := range a.GetAddresses() {
			prefix, err := snapshot.ParsePrefix(text)
			if err != nil {
				faults = append(faults, fmt.Sprintf("its address is left out: %v", err))
				continue
			}
			attachment.Addrs = append(attachment.Addrs, prefix.Addr())
		}
		if len(attachment.Addrs) > 0 {
			t.Attachments = append(t.Attachments, attachment)
		}
	}
	return t, faults, true
}

// stateFrom goes by the names, which are the Docker API's too.
func stateFrom(s swarmpb.Task_State) snapshot.TaskState {
	return snapshot.ParseTaskState(strings.ToLower(s.String()))
}

func nodeFrom(raw *swarmpb.Node) snapshot.Node {
	return snapshot.Node{
		ID:       raw.GetId(),
		Hostname: raw.GetDescription().GetHostname(),
		Addr:     snapshot.NodeAddr(raw.GetStatus().GetAddr(), raw.GetManagerStatus().GetAddr()),
		Ready:    raw.GetStatus().GetState() == swarmpb.Node_READY,
		Manager:  raw.GetSpec().GetDesiredRole() == swarmpb.Node_MANAGER,
		Labels:   labels(raw.GetSpec().GetAnnotations()),
	}
}

// predefined marks the networks that every engine has by itself, such as its
// bridge, which Swarm stores too. The Docker API does not list them.
const predefined = "com.docker.swarm.predefined"

func networkFrom(raw *swarmpb.Network) (snapshot.Network, bool) {
	annotations := raw.GetSpec().GetAnnotations()
	// Swarms that are older than the mark name their mesh's network so.
	_, internal := annotations.GetLabels()["com.docker.swarm.internal"]
	return snapshot.Network{
		ID:      raw.GetId(),
		Name:    annotations.GetName(),
		Driver:  raw.GetDriver().GetName(),
		Ingress: raw.GetSpec().GetIngress() || internal && annotations.GetName() == "ingress",
		Labels:  labels(annotations),
	}, annotations.GetLabels()[predefined] != "true"
}

func secretFrom(raw *swarmpb.Secret) (snapshot.Object, bool) {
	return objectFrom(raw.GetId(), raw.GetMeta(), raw.GetSpec().GetAnnotations()), !raw.GetInternal()
}

// configFrom is false for a config that Interlock did not make and that is not
// named.
func configFrom(raw *swarmpb.Config, named []string) (snapshot.Object, bool) {
	annotations := raw.GetSpec().GetAnnotations()
	return objectFrom(raw.GetId(), raw.GetMeta(), annotations), ours(annotations) || slices.Contains(named, annotations.GetName())
}

// ours reports whether Interlock made an object.
func ours(a *swarmpb.Annotations) bool {
	_, labelled := a.GetLabels()[plan.LabelRole]
	return labelled
}

func objectFrom(id string, meta *swarmpb.Meta, a *swarmpb.Annotations) snapshot.Object {
	return snapshot.Object{ID: id, Name: a.GetName(), CreatedAt: createdAt(meta), Labels: labels(a)}
}
