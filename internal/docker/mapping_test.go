package docker

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

const rounds = 500

func TestWhatIsAppliedIsReadBack(t *testing.T) {
	for seed := range uint64(rounds) {
		random := rand.New(rand.NewPCG(seed, 1))
		raw, want := anySpec(random), fromSwarm(anySpec(random))
		apply(&raw, want)
		if diff := cmp.Diff(want, fromSwarm(raw)); diff != "" {
			t.Fatalf("seed %d (-applied +read):\n%s", seed, diff)
		}
	}
}

func TestApplyingWhatIsThereChangesNothing(t *testing.T) {
	for seed := range uint64(rounds) {
		raw := anySpec(rand.New(rand.NewPCG(seed, 2)))
		before := deepCopy(t, raw)
		apply(&raw, fromSwarm(raw))
		if diff := cmp.Diff(before, deepCopy(t, raw), addresses); diff != "" {
			t.Fatalf("seed %d (-before +after):\n%s", seed, diff)
		}
	}
}

func TestApplyingLeavesWhatIsNotModelled(t *testing.T) {
	for seed := range uint64(rounds) {
		random := rand.New(rand.NewPCG(seed, 3))
		raw, want := anySpec(random), fromSwarm(anySpec(random))
		before := deepCopy(t, raw)
		apply(&raw, want)
		if diff := cmp.Diff(unmodelled(before), unmodelled(deepCopy(t, raw)), addresses); diff != "" {
			t.Fatalf("seed %d (-before +after):\n%s", seed, diff)
		}
	}
}

// unmodelled returns raw with all that a snapshot knows of it removed.
func unmodelled(raw swarm.ServiceSpec) swarm.ServiceSpec {
	raw.Annotations, raw.Mode = swarm.Annotations{}, swarm.ServiceMode{}
	raw.TaskTemplate.Networks = nil
	c := raw.TaskTemplate.ContainerSpec
	c.Image, c.Args, c.Labels, c.Env, c.Mounts, c.Secrets = "", nil, nil, nil, nil, nil
	c.StopSignal, c.StopGracePeriod, c.ReadOnly, c.CapabilityDrop = "", nil, false, nil
	c.CapabilityAdd, c.Sysctls = nil, nil
	c.Configs = slices.DeleteFunc(c.Configs, func(ref *swarm.ConfigReference) bool { return ref.File != nil })
	if len(c.Configs) == 0 {
		c.Configs = nil
	}
	if p := raw.TaskTemplate.Placement; p != nil {
		p.Constraints, p.Preferences = nil, nil
	}
	if raw.EndpointSpec != nil {
		raw.EndpointSpec.Ports = nil
	}
	if raw.UpdateConfig != nil {
		raw.UpdateConfig.Delay, raw.UpdateConfig.Order = 0, ""
		raw.UpdateConfig.Monitor, raw.UpdateConfig.FailureAction = 0, ""
	}
	if raw.TaskTemplate.RestartPolicy != nil {
		raw.TaskTemplate.RestartPolicy.Delay = nil
	}
	for _, made := range []struct {
		empty bool
		drop  func()
	}{
		{cmp.Equal(raw.TaskTemplate.Placement, &swarm.Placement{}), func() { raw.TaskTemplate.Placement = nil }},
		{cmp.Equal(raw.EndpointSpec, &swarm.EndpointSpec{}), func() { raw.EndpointSpec = nil }},
		{cmp.Equal(raw.UpdateConfig, &swarm.UpdateConfig{Parallelism: 1}), func() { raw.UpdateConfig = nil }},
		{cmp.Equal(raw.TaskTemplate.RestartPolicy, &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny}), func() { raw.TaskTemplate.RestartPolicy = nil }},
	} {
		if made.empty {
			made.drop()
		}
	}
	return raw
}

func TestAnElementThatStaysKeepsItsOtherParts(t *testing.T) {
	raw := swarm.ServiceSpec{
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Env: []string{"B=1", "NOVALUE", "A=1", "GONE=1"},
				Mounts: []mount.Mount{{
					Type: mount.TypeVolume, Source: "old", Target: "/data",
					VolumeOptions: &mount.VolumeOptions{NoCopy: true},
				}},
				Configs: []*swarm.ConfigReference{{ConfigID: "cred", Runtime: &swarm.ConfigReferenceRuntimeTarget{}}},
			},
			Networks: []swarm.NetworkAttachmentConfig{{Target: "net", Aliases: []string{"alias"}}},
		},
		EndpointSpec: &swarm.EndpointSpec{
			Mode:  swarm.ResolutionModeDNSRR,
			Ports: []swarm.PortConfig{{Name: "web", Protocol: network.TCP, TargetPort: 80, PublishMode: swarm.PortConfigPublishModeHost}},
		},
	}
	spec := fromSwarm(raw)
	spec.Env = map[string]string{"A": "2", "B": "1", "D": "4", "C": "3"}
	spec.Mounts = []snapshot.Mount{{Type: "volume", Source: "new", Target: "/data"}}
	spec.Networks = []string{"another", "net"}
	spec.Ports = append(spec.Ports, snapshot.Port{Target: 443, Mode: snapshot.PublishHost})
	spec.Configs = []snapshot.FileRef{{ID: "id", Name: "page", Target: "/page", Mode: 0o444}}
	apply(&raw, spec)

	c := raw.TaskTemplate.ContainerSpec
	if want := []string{"B=1", "NOVALUE", "A=2", "C=3", "D=4"}; !slices.Equal(c.Env, want) {
		t.Errorf("environment: got %q, want %q", c.Env, want)
	}
	if m := c.Mounts[0]; m.Source != "new" || m.VolumeOptions == nil || !m.VolumeOptions.NoCopy {
		t.Errorf("mount: %+v", m)
	}
	if len(c.Configs) != 2 || c.Configs[0].Runtime == nil || c.Configs[1].File.UID != "0" {
		t.Errorf("configs: %+v", c.Configs)
	}
	if n := raw.TaskTemplate.Networks; len(n) != 2 || n[0].Target != "another" || !slices.Equal(n[1].Aliases, []string{"alias"}) {
		t.Errorf("networks: %+v", n)
	}
	if e := raw.EndpointSpec; e.Mode != swarm.ResolutionModeDNSRR || len(e.Ports) != 2 || e.Ports[0].Name != "web" {
		t.Errorf("endpoint: %+v", e)
	}
}

func TestAnUpdateDelayAloneDoesNotUpdateEveryTaskAtOnce(t *testing.T) {
	var raw swarm.ServiceSpec
	apply(&raw, snapshot.ServiceSpec{UpdateDelay: ptr(time.Second)})
	if raw.UpdateConfig == nil || raw.UpdateConfig.Parallelism != 1 {
		t.Errorf("not one task at a time: %+v", raw.UpdateConfig)
	}
}

// anySpec returns a container's specification with anything in any field.
func anySpec(random *rand.Rand) swarm.ServiceSpec {
	var raw swarm.ServiceSpec
	fill(random, reflect.ValueOf(&raw).Elem(), "")
	raw.TaskTemplate.PluginSpec, raw.TaskTemplate.NetworkAttachmentSpec = nil, nil
	if raw.TaskTemplate.ContainerSpec == nil {
		raw.TaskTemplate.ContainerSpec = &swarm.ContainerSpec{}
	}
	modes := []swarm.ServiceMode{
		{},
		{Global: &swarm.GlobalService{}},
		{GlobalJob: &swarm.GlobalJob{}},
		{Replicated: raw.Mode.Replicated},
		{ReplicatedJob: raw.Mode.ReplicatedJob},
	}
	raw.Mode = modes[random.IntN(len(modes))]
	return raw
}

// special are the values of fields that the grammar of a specification limits.
var special = map[string][]string{
	"Env":           {"A=1", "A=2", "B=x=y", "C=", "NOVALUE", "D=4"},
	"Protocol":      {"", "tcp", "udp"},
	"PublishMode":   {"", "ingress", "host"},
	"Order":         {"", "stop-first", "start-first"},
	"FailureAction": {"", "pause", "continue", "rollback"},
	"UID":           {"0", "101"},
	"GID":           {"0", "101"},
	"Image":         {"app:1", "acme/app:2"},
}

func fill(random *rand.Rand, v reflect.Value, name string) {
	if values, limited := special[name]; limited && v.Kind() == reflect.String {
		v.SetString(values[random.IntN(len(values))])
		return
	}
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(256))})))
		return
	case ignored:
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s%d", name, random.IntN(3)))
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64N(3))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(random.Uint64N(3))
	case reflect.Float32:
		v.SetFloat(float64(random.IntN(3)))
	default:
		fillComposed(random, v, name)
	}
}

func fillComposed(random *rand.Rand, v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		// A list holds no nil, and a preference is a spread.
		if name != "Spread" && name != "" && random.IntN(3) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(random, v.Elem(), name)
	case reflect.Slice:
		if n := random.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range v.Len() {
			element := name
			if v.Index(i).Kind() == reflect.Pointer {
				element = ""
			}
			fill(random, v.Index(i), element)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range random.IntN(3) {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(random, value, name)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprint("key", i)), value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(random, v.Field(i), v.Type().Field(i).Name)
		}
	default:
		panic("no random " + v.Type().String())
	}
}

// deepCopy also makes empty lists and maps what the wire makes of them.
func deepCopy(t *testing.T, raw swarm.ServiceSpec) swarm.ServiceSpec {
	t.Helper()
	encoded, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	var spec swarm.ServiceSpec
	if err := json.Unmarshal(encoded, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}
