package bench

import (
	"strings"
	"time"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// What Docker's API says of objects, as SwarmKit says it: as far as Interlock
// reads them.

func kitNode(n *swarm.Node) *swarmpb.Object {
	return &swarmpb.Object{Object: &swarmpb.Object_Node{Node: &swarmpb.Node{
		Id: n.ID, Description: &swarmpb.Node_Description{Hostname: n.Description.Hostname},
		Status: &swarmpb.Node_Status{State: swarmpb.Node_READY, Addr: n.Status.Addr},
	}}}
}

func kitSecret(s *swarm.Secret) *swarmpb.Object {
	return &swarmpb.Object{Object: &swarmpb.Object_Secret{Secret: &swarmpb.Secret{
		Id: s.ID, Meta: kitMeta(s.Meta), Spec: &swarmpb.Secret_Spec{Annotations: kitAnnotations(s.Spec.Annotations)},
	}}}
}

// kitTask needs what travels of the service's specification, too, and nobody reads.
func kitTask(t *swarm.Task, unread []byte) *swarmpb.Object {
	task := &swarmpb.Task{
		Id: t.ID, Meta: kitMeta(t.Meta), ServiceId: t.ServiceID, NodeId: t.NodeID, Slot: uint64(t.Slot),
		Spec:         &swarmpb.Task_Spec{Container: new(swarmpb.Empty)},
		DesiredState: kitState(t.DesiredState),
		Status: &swarmpb.Task_Status{
			State: kitState(t.Status.State), Message: t.Status.Message, Ports: &swarmpb.Task_Ports{List: kitPorts(t.Status.PortStatus.Ports)},
			Container: &swarmpb.Task_Container{Id: t.Status.ContainerStatus.ContainerID},
		},
	}
	task.GetSpec().GetContainer().ProtoReflect().SetUnknown(unread)
	return &swarmpb.Object{Object: &swarmpb.Object_Task{Task: task}}
}

func kitState(s swarm.TaskState) swarmpb.Task_State {
	return swarmpb.Task_State(swarmpb.Task_State_value[strings.ToUpper(string(s))])
}

func kitService(s *swarm.Service) *swarmpb.Object {
	task := s.Spec.TaskTemplate
	replicas := uint64(1)
	if r := s.Spec.Mode.Replicated; r != nil {
		replicas = *r.Replicas
	}
	spec := &swarmpb.ServiceSpec{
		Annotations: kitAnnotations(s.Spec.Annotations),
		Mode:        &swarmpb.ServiceSpec_Replicated_{Replicated: &swarmpb.ServiceSpec_Replicated{Replicas: replicas}},
		Task:        &swarmpb.TaskSpec{Runtime: &swarmpb.TaskSpec_Container{Container: kitContainer(task.ContainerSpec)}},
	}
	if r := task.RestartPolicy; r != nil {
		spec.Task.Restart = &swarmpb.TaskSpec_RestartPolicy{Delay: kitDuration(r.Delay)}
	}
	if e := s.Spec.EndpointSpec; e != nil {
		spec.Endpoint = &swarmpb.ServiceSpec_EndpointSpec{Ports: kitPorts(e.Ports)}
	}
	if u := s.Spec.UpdateConfig; u != nil {
		spec.Update = &swarmpb.UpdateConfig{Delay: durationpb.New(u.Delay), Monitor: durationpb.New(u.Monitor)}
		if u.Order == swarm.UpdateOrderStartFirst {
			spec.Update.Order = swarmpb.UpdateConfig_START_FIRST
		}
	}
	return &swarmpb.Object{Object: &swarmpb.Object_Service{Service: &swarmpb.Service{Id: s.ID, Meta: kitMeta(s.Meta), Spec: spec}}}
}

func kitContainer(c *swarm.ContainerSpec) *swarmpb.ContainerSpec {
	container := &swarmpb.ContainerSpec{
		Image: c.Image, Labels: c.Labels, Args: c.Args, Env: c.Env, StopSignal: c.StopSignal, StopGracePeriod: kitDuration(c.StopGracePeriod),
		ReadOnly: c.ReadOnly, CapabilityDrop: c.CapabilityDrop, CapabilityAdd: c.CapabilityAdd, Sysctls: c.Sysctls,
	}
	for _, m := range c.Mounts {
		kind := map[mount.Type]swarmpb.ContainerSpec_Mount_Type{
			mount.TypeVolume: swarmpb.ContainerSpec_Mount_VOLUME, mount.TypeTmpfs: swarmpb.ContainerSpec_Mount_TMPFS,
		}[m.Type]
		container.Mounts = append(container.Mounts, &swarmpb.ContainerSpec_Mount{Type: kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	for _, s := range c.Secrets {
		container.Secrets = append(container.Secrets, &swarmpb.ContainerSpec_FileReference{
			Id: s.SecretID, Name: s.SecretName,
			File: &swarmpb.ContainerSpec_File{Name: s.File.Name, Uid: s.File.UID, Gid: s.File.GID, Mode: uint32(s.File.Mode)},
		})
	}
	return container
}

func kitPorts(ports []swarm.PortConfig) []*swarmpb.Port {
	var list []*swarmpb.Port
	for _, p := range ports {
		port := &swarmpb.Port{Target: p.TargetPort, Published: p.PublishedPort}
		if p.Protocol == network.UDP {
			port.Protocol = swarmpb.Port_UDP
		}
		if p.PublishMode == swarm.PortConfigPublishModeHost {
			port.Mode = swarmpb.Port_HOST
		}
		list = append(list, port)
	}
	return list
}

func kitMeta(m swarm.Meta) *swarmpb.Meta {
	return &swarmpb.Meta{CreatedAt: timestamppb.New(m.CreatedAt)}
}

func kitAnnotations(a swarm.Annotations) *swarmpb.Annotations {
	return &swarmpb.Annotations{Name: a.Name, Labels: a.Labels}
}

func kitDuration(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}
