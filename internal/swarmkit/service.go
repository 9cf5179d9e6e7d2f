package swarmkit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// updateStates are Docker's names of SwarmKit's.
var updateStates = map[swarmpb.Service_UpdateStatus_State]snapshot.UpdateState{
	swarmpb.Service_UpdateStatus_UPDATING:           snapshot.UpdateUpdating,
	swarmpb.Service_UpdateStatus_PAUSED:             snapshot.UpdatePaused,
	swarmpb.Service_UpdateStatus_COMPLETED:          snapshot.UpdateCompleted,
	swarmpb.Service_UpdateStatus_ROLLBACK_STARTED:   snapshot.UpdateRollbackStarted,
	swarmpb.Service_UpdateStatus_ROLLBACK_PAUSED:    snapshot.UpdateRollbackPaused,
	swarmpb.Service_UpdateStatus_ROLLBACK_COMPLETED: snapshot.UpdateRollbackCompleted,
}

func serviceFrom(raw *swarmpb.Service) (snapshot.Service, []string) {
	var faults []string
	s := snapshot.Service{
		ID:        raw.GetId(),
		Version:   raw.GetMeta().GetVersion().GetIndex(),
		CreatedAt: createdAt(raw.GetMeta()),
		Spec:      specFrom(raw.GetSpec()),
		Update:    updateStates[raw.GetUpdateStatus().GetState()],
	}
	for _, file := range filesFrom(raw.GetPreviousSpec().GetTask().GetContainer().GetConfigs()) {
		s.PreviousConfigs = append(s.PreviousConfigs, file.ID)
	}
	slices.Sort(s.PreviousConfigs)
	for _, p := range raw.GetEndpoint().GetPorts() {
		if port := portFrom(p); port.Mode == snapshot.PublishIngress {
			s.Ports = append(s.Ports, port)
		}
	}
	for _, v := range raw.GetEndpoint().GetVirtualIps() {
		if v.GetAddr() == "" { // not allocated yet, or of a network without addresses
			continue
		}
		addr, err := snapshot.ParsePrefix(v.GetAddr())
		if err != nil {
			faults = append(faults, fmt.Sprintf("its virtual IP is left out: %v", err))
			continue
		}
		s.VirtualIPs = append(s.VirtualIPs, snapshot.VirtualIP{NetworkID: v.GetNetworkId(), Addr: addr})
	}
	return s, faults
}

func specFrom(raw *swarmpb.ServiceSpec) snapshot.ServiceSpec {
	spec := snapshot.ServiceSpec{
		Name:     raw.GetAnnotations().GetName(),
		Labels:   raw.GetAnnotations().GetLabels(),
		Replicas: replicasFrom(raw),
	}
	task := raw.GetTask()
	if c := task.GetContainer(); c != nil {
		containerFrom(&spec, c)
	}
	spec.Constraints = task.GetPlacement().GetConstraints()
	for _, p := range task.GetPlacement().GetPreferences() {
		if p.GetSpread() != nil {
			spec.Preferences = append(spec.Preferences, p.GetSpread().GetDescriptor_())
		}
	}
	for _, n := range task.GetNetworks() {
		spec.Networks = append(spec.Networks, n.GetTarget())
	}
	for _, p := range raw.GetEndpoint().GetPorts() {
		spec.Ports = append(spec.Ports, portFrom(p))
	}
	if delay := raw.GetUpdate().GetDelay().AsDuration(); delay != 0 {
		spec.UpdateDelay = &delay
	}
	if monitor := raw.GetUpdate().GetMonitor().AsDuration(); monitor != 0 {
		spec.UpdateMonitor = &monitor
	}
	if delay := task.GetRestart().GetDelay(); delay != nil {
		spec.RestartDelay = new(time.Duration)
		*spec.RestartDelay = delay.AsDuration()
	}
	spec.UpdateFailureAction = strings.ToLower(raw.GetUpdate().GetFailureAction().String())
	if raw.GetUpdate().GetOrder() == swarmpb.UpdateConfig_START_FIRST {
		spec.UpdateOrder = "start-first"
	}
	return spec.Normalized()
}

// replicasFrom returns nil for a service that runs on every node. A job's
// replicas are the tasks it may run at a time.
func replicasFrom(raw *swarmpb.ServiceSpec) *uint64 {
	replicas := uint64(1) // what Swarm takes where nothing is said
	switch mode := raw.GetMode().(type) {
	case *swarmpb.ServiceSpec_Global, *swarmpb.ServiceSpec_GlobalJob:
		return nil
	case *swarmpb.ServiceSpec_Replicated_:
		replicas = mode.Replicated.GetReplicas()
	case *swarmpb.ServiceSpec_ReplicatedJob_:
		replicas = mode.ReplicatedJob.GetMaxConcurrent()
	}
	return &replicas
}

func containerFrom(spec *snapshot.ServiceSpec, c *swarmpb.ContainerSpec) {
	spec.Image = c.GetImage()
	spec.Args = c.GetArgs()
	spec.Env = envFrom(c.GetEnv())
	spec.ContainerLabels = c.GetLabels()
	spec.StopSignal = c.GetStopSignal()
	if grace := c.GetStopGracePeriod(); grace != nil {
		spec.StopGracePeriod = new(time.Duration)
		*spec.StopGracePeriod = grace.AsDuration()
	}
	spec.ReadOnly = c.GetReadOnly()
	spec.CapabilityDrop = c.GetCapabilityDrop()
	spec.CapabilityAdd = c.GetCapabilityAdd()
	spec.Sysctls = c.GetSysctls()
	for _, m := range c.GetMounts() {
		spec.Mounts = append(spec.Mounts, snapshot.Mount{
			Type: strings.ToLower(m.GetType().String()), Source: m.GetSource(), Target: m.GetTarget(), ReadOnly: m.GetReadOnly(),
		})
	}
	spec.Secrets, spec.Configs = filesFrom(c.GetSecrets()), filesFrom(c.GetConfigs())
}

// filesFrom leaves out what is no file, such as a credential specification.
func filesFrom(references []*swarmpb.ContainerSpec_FileReference) []snapshot.FileRef {
	var files []snapshot.FileRef
	for _, r := range references {
		if f := r.GetFile(); f != nil {
			files = append(files, snapshot.FileRef{
				ID: r.GetId(), Name: r.GetName(), Target: f.GetName(), UID: f.GetUid(), GID: f.GetGid(), Mode: f.GetMode(),
			})
		}
	}
	return files
}

// envFrom leaves out entries without a value, which only name a variable. Of a
// variable that is set twice the last setting counts, as in a container.
func envFrom(entries []string) map[string]string {
	env := make(map[string]string, len(entries))
	for _, entry := range entries {
		if name, value, set := strings.Cut(entry, "="); set {
			env[name] = value
		}
	}
	return env
}

func portFrom(p *swarmpb.Port) snapshot.Port {
	port := snapshot.Port{
		Protocol:  strings.ToLower(p.GetProtocol().String()),
		Target:    uint16(p.GetTarget()), // Swarm refuses larger ones
		Published: uint16(p.GetPublished()),
		Mode:      snapshot.PublishIngress,
	}
	if p.GetMode() == swarmpb.Port_HOST {
		port.Mode = snapshot.PublishHost
	}
	return port
}

func createdAt(meta *swarmpb.Meta) time.Time {
	if meta.GetCreatedAt() == nil {
		return time.Time{}
	}
	return meta.GetCreatedAt().AsTime()
}

// labels makes an empty map and none the same, as a snapshot has them.
func labels(a *swarmpb.Annotations) map[string]string {
	if len(a.GetLabels()) == 0 {
		return nil
	}
	return a.GetLabels()
}
