package docker

import (
	"strings"
	"time"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/swarm"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// fromSwarm returns the modelled part of a specification, normalized. It
// shares maps and slices with raw only where nobody writes to them.
func fromSwarm(raw swarm.ServiceSpec) snapshot.ServiceSpec {
	spec := snapshot.ServiceSpec{
		Name:     raw.Name,
		Labels:   raw.Labels,
		Replicas: replicasFromSwarm(raw.Mode),
	}
	if c := raw.TaskTemplate.ContainerSpec; c != nil {
		containerFromSwarm(&spec, c)
	}
	if p := raw.TaskTemplate.Placement; p != nil {
		spec.Constraints = p.Constraints
		for _, preference := range p.Preferences {
			if preference.Spread != nil {
				spec.Preferences = append(spec.Preferences, preference.Spread.SpreadDescriptor)
			}
		}
	}
	for _, n := range raw.TaskTemplate.Networks {
		spec.Networks = append(spec.Networks, n.Target)
	}
	if raw.EndpointSpec != nil {
		for _, p := range raw.EndpointSpec.Ports {
			spec.Ports = append(spec.Ports, portFromSwarm(p))
		}
	}
	if u := raw.UpdateConfig; u != nil {
		spec.UpdateDelay = durationFromSwarm(u.Delay)
		spec.UpdateOrder = string(u.Order)
		spec.UpdateFailureAction = string(u.FailureAction)
		spec.UpdateMonitor = durationFromSwarm(u.Monitor)
	}
	if r := raw.TaskTemplate.RestartPolicy; r != nil {
		spec.RestartDelay = clone(r.Delay)
	}
	return spec.Normalized()
}

func containerFromSwarm(spec *snapshot.ServiceSpec, c *swarm.ContainerSpec) {
	spec.Image = c.Image
	spec.Args = c.Args
	spec.Env = envFromSwarm(c.Env)
	spec.ContainerLabels = c.Labels
	spec.StopSignal = c.StopSignal
	spec.StopGracePeriod = c.StopGracePeriod
	spec.ReadOnly = c.ReadOnly
	spec.CapabilityDrop = c.CapabilityDrop
	spec.CapabilityAdd = c.CapabilityAdd
	spec.Sysctls = c.Sysctls
	for _, m := range c.Mounts {
		spec.Mounts = append(spec.Mounts, mountFromSwarm(m))
	}
	for _, ref := range c.Secrets {
		if ref != nil && ref.File != nil {
			spec.Secrets = append(spec.Secrets, snapshot.FileRef{
				ID: ref.SecretID, Name: ref.SecretName,
				Target: ref.File.Name, UID: ref.File.UID, GID: ref.File.GID, Mode: uint32(ref.File.Mode),
			})
		}
	}
	for _, ref := range c.Configs {
		if ref != nil && ref.File != nil { // else it is a credential specification, not a file
			spec.Configs = append(spec.Configs, snapshot.FileRef{
				ID: ref.ConfigID, Name: ref.ConfigName,
				Target: ref.File.Name, UID: ref.File.UID, GID: ref.File.GID, Mode: uint32(ref.File.Mode),
			})
		}
	}
}

func mountFromSwarm(raw mount.Mount) snapshot.Mount {
	m := snapshot.Mount{Type: string(raw.Type), Source: raw.Source, Target: raw.Target, ReadOnly: raw.ReadOnly}
	if o := raw.TmpfsOptions; o != nil {
		m.TmpfsSize, m.TmpfsMode = o.SizeBytes, uint32(o.Mode)
	}
	return m
}

// replicasFromSwarm returns nil for a service that runs on every node. A job's
// replicas are the tasks it may run at a time.
func replicasFromSwarm(mode swarm.ServiceMode) *uint64 {
	one := uint64(1) // what Swarm takes where nothing is said
	replicas := &one
	switch {
	case mode.Global != nil, mode.GlobalJob != nil:
		return nil
	case mode.ReplicatedJob != nil && mode.ReplicatedJob.MaxConcurrent != nil:
		*replicas = *mode.ReplicatedJob.MaxConcurrent
	case mode.Replicated != nil && mode.Replicated.Replicas != nil:
		*replicas = *mode.Replicated.Replicas
	}
	return replicas
}

// envFromSwarm leaves out entries without a value, which only name a variable.
// Of a variable that is set twice the last setting counts, as in a container.
func envFromSwarm(entries []string) map[string]string {
	env := make(map[string]string, len(entries))
	for _, entry := range entries {
		if name, value, set := strings.Cut(entry, "="); set {
			env[name] = value
		}
	}
	return env
}

func durationFromSwarm(d time.Duration) *time.Duration {
	if d == 0 {
		return nil
	}
	return &d
}
