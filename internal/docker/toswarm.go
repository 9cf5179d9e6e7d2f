package docker

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// apply makes raw say what want says, and changes nothing else in it. A field
// that says so already is not touched, down to its spelling and its order, and
// of an element that stays the parts that are not modelled stay too.
func apply(raw *swarm.ServiceSpec, want snapshot.ServiceSpec) {
	want = want.Normalized()
	have := fromSwarm(*raw)
	raw.Name = want.Name
	set(&raw.Labels, maps.Clone(want.Labels), have.Labels, want.Labels)
	if !reflect.DeepEqual(have.Replicas, want.Replicas) {
		raw.Mode = modeToSwarm(want.Replicas)
	}
	if raw.TaskTemplate.PluginSpec == nil {
		if raw.TaskTemplate.ContainerSpec == nil {
			raw.TaskTemplate.ContainerSpec = &swarm.ContainerSpec{}
		}
		applyContainer(raw.TaskTemplate.ContainerSpec, have, want)
		applyFiles(raw.TaskTemplate.ContainerSpec, have, want)
	}
	applyPlacement(raw, have, want)
	applyNetworks(raw, have, want)
	applyUpdate(raw, have, want)
	applyRestart(&raw.TaskTemplate, have, want)
}

// set gives field the value to where the model of the two differs.
func set[F, M any](field *F, to F, have, want M) {
	if !reflect.DeepEqual(have, want) {
		*field = to
	}
}

func applyContainer(c *swarm.ContainerSpec, have, want snapshot.ServiceSpec) {
	set(&c.Image, want.Image, have.Image, want.Image)
	set(&c.Args, slices.Clone(want.Args), have.Args, want.Args)
	set(&c.Env, envToSwarm(c.Env, want.Env), have.Env, want.Env)
	set(&c.Labels, maps.Clone(want.ContainerLabels), have.ContainerLabels, want.ContainerLabels)
	set(&c.StopSignal, want.StopSignal, have.StopSignal, want.StopSignal)
	set(&c.StopGracePeriod, clone(want.StopGracePeriod), have.StopGracePeriod, want.StopGracePeriod)
	set(&c.ReadOnly, want.ReadOnly, have.ReadOnly, want.ReadOnly)
	set(&c.CapabilityDrop, slices.Clone(want.CapabilityDrop), have.CapabilityDrop, want.CapabilityDrop)
	set(&c.CapabilityAdd, slices.Clone(want.CapabilityAdd), have.CapabilityAdd, want.CapabilityAdd)
	set(&c.Sysctls, maps.Clone(want.Sysctls), have.Sysctls, want.Sysctls)
	set(&c.Mounts, mountsToSwarm(c.Mounts, want.Mounts), have.Mounts, want.Mounts)
}

func applyFiles(c *swarm.ContainerSpec, have, want snapshot.ServiceSpec) {
	if !reflect.DeepEqual(have.Secrets, want.Secrets) {
		c.Secrets = slices.DeleteFunc(c.Secrets, func(ref *swarm.SecretReference) bool { return ref == nil || ref.File != nil })
		for _, file := range want.Secrets {
			c.Secrets = append(c.Secrets, &swarm.SecretReference{
				SecretID: file.ID, SecretName: file.Name,
				File: &swarm.SecretReferenceFileTarget{
					Name: file.Target, UID: orRoot(file.UID), GID: orRoot(file.GID), Mode: os.FileMode(file.Mode),
				},
			})
		}
	}
	if !reflect.DeepEqual(have.Configs, want.Configs) {
		c.Configs = slices.DeleteFunc(c.Configs, func(ref *swarm.ConfigReference) bool { return ref == nil || ref.File != nil })
		for _, file := range want.Configs {
			c.Configs = append(c.Configs, &swarm.ConfigReference{
				ConfigID: file.ID, ConfigName: file.Name,
				File: &swarm.ConfigReferenceFileTarget{
					Name: file.Target, UID: orRoot(file.UID), GID: orRoot(file.GID), Mode: os.FileMode(file.Mode),
				},
			})
		}
	}
}

// orRoot names the owner of a file, which the engine refuses to guess.
func orRoot(id string) string {
	if id == "" {
		return "0"
	}
	return id
}

func applyPlacement(raw *swarm.ServiceSpec, have, want snapshot.ServiceSpec) {
	if slices.Equal(have.Constraints, want.Constraints) && slices.Equal(have.Preferences, want.Preferences) {
		return
	}
	if raw.TaskTemplate.Placement == nil {
		raw.TaskTemplate.Placement = &swarm.Placement{}
	}
	p := raw.TaskTemplate.Placement
	set(&p.Constraints, slices.Clone(want.Constraints), have.Constraints, want.Constraints)
	if !slices.Equal(have.Preferences, want.Preferences) {
		p.Preferences = nil
		for _, descriptor := range want.Preferences {
			p.Preferences = append(p.Preferences, swarm.PlacementPreference{Spread: &swarm.SpreadOver{SpreadDescriptor: descriptor}})
		}
	}
}

func applyNetworks(raw *swarm.ServiceSpec, have, want snapshot.ServiceSpec) {
	set(&raw.TaskTemplate.Networks, networksToSwarm(raw.TaskTemplate.Networks, want.Networks), have.Networks, want.Networks)
	if slices.Equal(have.Ports, want.Ports) {
		return
	}
	if raw.EndpointSpec == nil {
		raw.EndpointSpec = &swarm.EndpointSpec{}
	}
	raw.EndpointSpec.Ports = portsToSwarm(raw.EndpointSpec.Ports, want.Ports)
}

func applyUpdate(raw *swarm.ServiceSpec, have, want snapshot.ServiceSpec) {
	if reflect.DeepEqual(have.UpdateDelay, want.UpdateDelay) && have.UpdateOrder == want.UpdateOrder &&
		have.UpdateFailureAction == want.UpdateFailureAction && reflect.DeepEqual(have.UpdateMonitor, want.UpdateMonitor) {
		return
	}
	if raw.UpdateConfig == nil {
		// Swarm's default where there is none; a zero would mean all at once.
		raw.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1}
	}
	u := raw.UpdateConfig
	u.Delay, u.Monitor = orZero(want.UpdateDelay), orZero(want.UpdateMonitor)
	set(&u.Order, swarm.UpdateOrder(want.UpdateOrder), have.UpdateOrder, want.UpdateOrder)
	set(&u.FailureAction, swarm.FailureAction(want.UpdateFailureAction), have.UpdateFailureAction, want.UpdateFailureAction)
}

func applyRestart(task *swarm.TaskSpec, have, want snapshot.ServiceSpec) {
	if reflect.DeepEqual(have.RestartDelay, want.RestartDelay) {
		return
	}
	if task.RestartPolicy == nil {
		task.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny}
	}
	task.RestartPolicy.Delay = clone(want.RestartDelay)
}

func orZero(d *time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return *d
}

func modeToSwarm(replicas *uint64) swarm.ServiceMode {
	if replicas == nil {
		return swarm.ServiceMode{Global: &swarm.GlobalService{}}
	}
	return swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: clone(replicas)}}
}

// envToSwarm keeps the order of raw and its entries without a value; what raw
// lacks follows by name.
func envToSwarm(raw []string, want map[string]string) []string {
	var entries []string
	written := make(map[string]bool, len(want))
	for _, entry := range raw {
		name, _, set := strings.Cut(entry, "=")
		value, wanted := want[name]
		switch {
		case !set:
			entries = append(entries, entry)
		case wanted && !written[name]:
			entries = append(entries, name+"="+value)
			written[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !written[name] {
			entries = append(entries, name+"="+want[name])
		}
	}
	return entries
}

func mountsToSwarm(raw []mount.Mount, want []snapshot.Mount) []mount.Mount {
	same := func(m mount.Mount, w snapshot.Mount) bool { return m.Target == w.Target && string(m.Type) == w.Type }
	return keep(raw, want, same, func(m *mount.Mount, w snapshot.Mount) {
		m.Type, m.Source, m.Target, m.ReadOnly = mount.Type(w.Type), w.Source, w.Target, w.ReadOnly
		if m.TmpfsOptions == nil && w.TmpfsSize == 0 && w.TmpfsMode == 0 {
			return
		}
		if m.TmpfsOptions == nil {
			m.TmpfsOptions = &mount.TmpfsOptions{}
		}
		// The engine reads these bits as chmod(2) does, not as Go does.
		m.TmpfsOptions.SizeBytes, m.TmpfsOptions.Mode = w.TmpfsSize, os.FileMode(w.TmpfsMode)
	})
}

func networksToSwarm(raw []swarm.NetworkAttachmentConfig, want []string) []swarm.NetworkAttachmentConfig {
	same := func(n swarm.NetworkAttachmentConfig, id string) bool { return n.Target == id }
	return keep(raw, want, same, func(n *swarm.NetworkAttachmentConfig, id string) { n.Target = id })
}

func portsToSwarm(raw []swarm.PortConfig, want []snapshot.Port) []swarm.PortConfig {
	same := func(p swarm.PortConfig, w snapshot.Port) bool { return portFromSwarm(p) == w }
	return keep(raw, want, same, func(p *swarm.PortConfig, w snapshot.Port) {
		p.Protocol, p.PublishMode = network.IPProtocol(w.Protocol), swarm.PortConfigPublishMode(w.Mode)
		p.TargetPort, p.PublishedPort = uint32(w.Target), uint32(w.Published)
	})
}

// keep returns an element for each of want: the one in raw that is the same
// thing, if there is one, else a new one; each with what is wanted written to
// it.
func keep[R, M any](raw []R, want []M, same func(R, M) bool, write func(*R, M)) []R {
	var kept []R
	used := make([]bool, len(raw))
	for _, w := range want {
		var element R
		for i, r := range raw {
			if !used[i] && same(r, w) {
				element, used[i] = r, true
				break
			}
		}
		write(&element, w)
		kept = append(kept, element)
	}
	return kept
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	value := *p
	return &value
}
