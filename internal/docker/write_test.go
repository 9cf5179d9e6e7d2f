package docker

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// fullSpec says something in every field but Networks, and runs nowhere.
func fullSpec(t *testing.T, c *Client, name string) snapshot.ServiceSpec {
	t.Helper()
	secret, err := c.CreateSecret(t.Context(), name+"-secret", nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := c.CreateConfig(t.Context(), name+"-config", nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.ServiceSpec{
		Name: name, Labels: map[string]string{"a": "1", "b": ""}, Image: "interlock-test",
		Args: []string{"-D", "run"}, Env: map[string]string{"B": "2", "A": "x=y", "EMPTY": ""},
		ContainerLabels: map[string]string{"c": "d"}, Replicas: ptr(uint64(2)),
		Constraints: []string{"node.labels.nowhere==true"}, Preferences: []string{"node.labels.zone", "node.labels.rack"},
		Ports: []snapshot.Port{{Target: 80, Published: 8000, Mode: snapshot.PublishHost}, {Target: 53, Protocol: "udp"}},
		Mounts: []snapshot.Mount{
			{Type: "volume", Source: "cache", Target: "/cache"},
			{Type: "tmpfs", Target: "/tmp", TmpfsSize: 1 << 20, TmpfsMode: 0o1777},
			{Type: "bind", Source: "/etc", Target: "/host", ReadOnly: true},
		},
		Secrets:    []snapshot.FileRef{{ID: secret, Name: name + "-secret", Target: "key", Mode: 0o400}},
		Configs:    []snapshot.FileRef{{ID: config, Name: name + "-config", Target: "/config.toml", UID: "101", GID: "101", Mode: 0o444}},
		StopSignal: "SIGQUIT", StopGracePeriod: ptr(5 * time.Second), UpdateDelay: ptr(3 * time.Second), UpdateOrder: "start-first",
		UpdateFailureAction: "rollback", UpdateMonitor: ptr(7 * time.Second), RestartDelay: ptr(time.Second),
		ReadOnly: true, CapabilityDrop: []string{"ALL"}, CapabilityAdd: []string{"CAP_NET_ADMIN"},
		Sysctls: map[string]string{"net.ipv4.tcp_keepalive_time": "1", "net.ipv4.tcp_keepalive_intvl": "1"},
	}
}

func createAndReadBack(t *testing.T, c *Client) {
	for _, spec := range []snapshot.ServiceSpec{
		fullSpec(t, c, "full"),
		{Name: "least", Image: testImage, Replicas: ptr(uint64(0))},
		{Name: "everywhere", Image: testImage, Constraints: []string{"node.labels.nowhere==true"}, UpdateDelay: ptr(time.Second)},
	} {
		id, err := c.CreateService(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(spec.Normalized(), current(t, c, id).Spec); diff != "" {
			t.Errorf("%s is given back changed (-created +read):\n%s", spec.Name, diff)
		}
		if _, err := c.CreateService(t.Context(), spec); !errors.Is(err, plan.ErrOutdated) {
			t.Errorf("a second %s is no conflict: %v", spec.Name, err)
		}
		for range 2 {
			if err := c.RemoveService(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		if err := c.UpdateService(t.Context(), id, 1, spec); !errors.Is(err, plan.ErrOutdated) {
			t.Errorf("an update of what is gone is no conflict: %v", err)
		}
	}
}

func operatorsFieldsSurvive(t *testing.T, e *engine, c *Client) {
	id, err := c.CreateService(t.Context(), fullSpec(t, c, "operated"))
	if err != nil {
		t.Fatal(err)
	}
	operate(t, e, id, func(raw *swarm.ServiceSpec) {
		raw.TaskTemplate.ContainerSpec.Mounts[0].VolumeOptions = &mount.VolumeOptions{Labels: map[string]string{"kept": "yes"}}
		raw.TaskTemplate.ContainerSpec.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		raw.TaskTemplate.ContainerSpec.Hosts = []string{"10.0.0.1 db"}
		raw.TaskTemplate.Resources = &swarm.ResourceRequirements{Limits: &swarm.Limit{MemoryBytes: 64 << 20}}
		raw.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny, Delay: ptr(7 * time.Second)}
		raw.TaskTemplate.Placement.MaxReplicas = 3
		raw.TaskTemplate.ForceUpdate = 4
		raw.UpdateConfig.Parallelism = 2
		raw.UpdateConfig.FailureAction = swarm.UpdateFailureActionContinue
		raw.RollbackConfig = &swarm.UpdateConfig{Parallelism: 5, Order: swarm.UpdateOrderStopFirst}
	})
	before := inspect(t, e, id)

	eventually(t, func(ctx context.Context) error {
		service := current(t, c, id)
		spec := service.Spec
		spec.Image, spec.Args, spec.UpdateDelay = "interlock-test:2", nil, ptr(9*time.Second)
		spec.Mounts = append(slices.Clone(spec.Mounts), snapshot.Mount{Type: "tmpfs", Target: "/run"})
		return c.UpdateService(ctx, id, service.Version, spec)
	})

	want, got := before.Spec, inspect(t, e, id).Spec
	want.TaskTemplate.ContainerSpec.Image, want.TaskTemplate.ContainerSpec.Args = "interlock-test:2", nil
	want.TaskTemplate.ContainerSpec.Mounts = append(want.TaskTemplate.ContainerSpec.Mounts, mount.Mount{Type: mount.TypeTmpfs, Target: "/run"})
	want.UpdateConfig.Delay = 9 * time.Second
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("more changed than was asked for (-want +got):\n%s", diff)
	}
}

func conflictingUpdates(t *testing.T, e *engine, c *Client) {
	id, err := c.CreateService(t.Context(), snapshot.ServiceSpec{Name: "contested", Image: testImage, Replicas: ptr(uint64(0))})
	if err != nil {
		t.Fatal(err)
	}
	read := current(t, c, id)
	operate(t, e, id, func(raw *swarm.ServiceSpec) { raw.Labels = map[string]string{"operator": "was here"} })
	if err := c.UpdateService(t.Context(), id, read.Version, read.Spec); !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("an update of an older version is no conflict: %v", err)
	}
	// What an update meets if the other one comes between its two calls.
	_, err = e.api.ServiceUpdate(t.Context(), id, client.ServiceUpdateOptions{
		Version: swarm.Version{Index: read.Version}, Spec: inspect(t, e, id).Spec,
	})
	if err = failed("updating", err); !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("the failed version check of Swarm is no conflict: %v", err)
	}
	if label := current(t, c, id).Spec.Labels["operator"]; label != "was here" {
		t.Errorf("the refused update took effect: %q", label)
	}
}

func missingObjects(t *testing.T, e *engine, c *Client) {
	id, err := c.CreateService(t.Context(), snapshot.ServiceSpec{Name: "needy", Image: testImage, Replicas: ptr(uint64(0))})
	if err != nil {
		t.Fatal(err)
	}
	ref := snapshot.FileRef{ID: "nosuchid", Name: "absent", Target: "absent"}
	for what, need := range map[string]func(*snapshot.ServiceSpec){
		"network": func(s *snapshot.ServiceSpec) { s.Networks = []string{"absent"} },
		"secret":  func(s *snapshot.ServiceSpec) { s.Secrets = []snapshot.FileRef{ref} },
		"config":  func(s *snapshot.ServiceSpec) { s.Configs = []snapshot.FileRef{ref} },
	} {
		wantMissing := func(doing string, err error) {
			t.Helper()
			if err == nil || errors.Is(err, plan.ErrOutdated) {
				t.Fatalf("%s without its %s: %v", doing, what, err)
			}
			for _, words := range []string{doing, what + " ", "absent", "not found"} {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
		}
		fresh := snapshot.ServiceSpec{Name: "new-needy", Image: testImage}
		need(&fresh)
		_, err := c.CreateService(t.Context(), fresh)
		wantMissing("creating service new-needy", err)
		service := current(t, c, id)
		need(&service.Spec)
		wantMissing("updating service needy", c.UpdateService(t.Context(), id, service.Version, service.Spec))
		_, err = e.api.ServiceInspect(t.Context(), "new-needy", client.ServiceInspectOptions{})
		if !cerrdefs.IsNotFound(err) {
			t.Errorf("a service without its %s was created: %v", what, err)
		}
	}
}

func secretsAndConfigs(t *testing.T, c *Client) {
	ctx := t.Context()
	content := bytes.Repeat([]byte("x\x00\n"), 100_000)
	config, err := c.CreateConfig(ctx, "kept", map[string]string{"a": "b"}, content)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.ReadConfig(ctx, config); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a config of %d bytes is given back as %d: %v", len(content), len(got), err)
	}
	secret, err := c.CreateSecret(ctx, "kept", nil, content)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateConfig(ctx, "kept", nil, content); !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("a second config of that name is no conflict: %v", err)
	}
	if _, err := c.CreateSecret(ctx, "kept", nil, content); !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("a second secret of that name is no conflict: %v", err)
	}
	for range 2 {
		if err := errors.Join(c.RemoveConfig(ctx, config), c.RemoveSecret(ctx, secret)); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.ReadConfig(ctx, config); !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("reading a config that is gone: %v", err)
	}
}

// operate changes a service as an operator does, who tries again while Swarm
// itself is busy with it.
func operate(t *testing.T, e *engine, id string, change func(*swarm.ServiceSpec)) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		service := inspect(t, e, id)
		change(&service.Spec)
		_, err := e.api.ServiceUpdate(ctx, id, client.ServiceUpdateOptions{Version: service.Version, Spec: service.Spec})
		return err
	})
}

func inspect(t *testing.T, e *engine, id string) swarm.Service {
	t.Helper()
	result, err := e.api.ServiceInspect(t.Context(), id, client.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return result.Service
}
