package docker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// deploys creates and updates a service with all that an installer says.
func deploys(t *testing.T, e *engine, c *Client) {
	network, err := c.CreateNetwork(t.Context(), "deployed", map[string]string{"a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	d := Deployment{
		Spec:        snapshot.ServiceSpec{Name: "deployed", Image: testImage, Replicas: ptr(uint64(0)), Networks: []string{network}},
		MemoryLimit: 64 << 20, CPULimit: 0.5, RollBack: true, Monitor: 7 * time.Second,
		Health: Health{Command: []string{"/idle"}, Interval: 3 * time.Second, Timeout: 2 * time.Second, StartPeriod: time.Second, Retries: 4},
	}
	id, err := c.Deploy(t.Context(), nil, d)
	if err != nil {
		t.Fatal(err)
	}
	checkDeployed(t, e, id, 64<<20)

	d.MemoryLimit, d.Spec.UpdateOrder = 32<<20, "start-first"
	before := deployAgain(t, c, id, d)
	raw := checkDeployed(t, e, id, 32<<20)
	if raw.UpdateConfig.Order != "start-first" || raw.RollbackConfig.Order != "start-first" {
		t.Errorf("the orders are %s and %s", raw.UpdateConfig.Order, raw.RollbackConfig.Order)
	}
	if _, err := c.Deploy(t.Context(), &before, d); !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("a deployment over somebody else's change is no conflict: %v", err)
	}
	for _, remove := range []func() error{
		func() error { return c.RemoveService(t.Context(), id) },
		func() error { return c.RemoveNetwork(t.Context(), network) },
		func() error { return c.RemoveNetwork(t.Context(), network) },
	} {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
}

// deployAgain updates a service, and returns it as it was before. Swarm itself
// changes a new one once more, to give it its addresses.
func deployAgain(t *testing.T, c *Client, id string, d Deployment) snapshot.Service {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		before := current(t, c, id)
		again, err := c.Deploy(t.Context(), &before, d)
		switch {
		case err == nil && again == id:
			return before
		case !errors.Is(err, plan.ErrOutdated) || time.Now().After(deadline):
			t.Fatalf("the update is of %s, %v; want %s", again, err, id)
		}
	}
}

func checkDeployed(t *testing.T, e *engine, id string, memory int64) swarm.ServiceSpec {
	t.Helper()
	found, err := e.api.ServiceInspect(context.Background(), id, client.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw := found.Service.Spec
	limits, health, update := raw.TaskTemplate.Resources.Limits, raw.TaskTemplate.ContainerSpec.Healthcheck, raw.UpdateConfig
	if limits.MemoryBytes != memory || limits.NanoCPUs != 500_000_000 {
		t.Errorf("the limits are %+v", limits)
	}
	if len(health.Test) != 2 || health.Test[1] != "/idle" || health.Interval != 3*time.Second || health.Timeout != 2*time.Second ||
		health.StartPeriod != time.Second || health.Retries != 4 {
		t.Errorf("the health check is %+v", health)
	}
	if update.FailureAction != "rollback" || update.Monitor != 7*time.Second || update.Parallelism != 1 {
		t.Errorf("an update goes %+v", update)
	}
	return raw
}
