package docker

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Deployment is a service together with what snapshot.ServiceSpec does not
// model, because the core never touches it: only who installs a service says it.
type Deployment struct {
	Spec        snapshot.ServiceSpec
	MemoryLimit int64   // bytes
	CPULimit    float64 // in CPUs
	Health      Health
	// RollBack takes back an update whose tasks fail within Monitor.
	RollBack bool
	Monitor  time.Duration
}

// Health is the command that says whether a container is well.
type Health struct {
	Command                        []string // a program and its arguments
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

// Deploy creates the service, or makes current say the same, and returns its ID.
// The error is that of CreateService or UpdateService.
func (c *Client) Deploy(ctx context.Context, current *snapshot.Service, d Deployment) (id string, err error) {
	err = c.write(ctx, "deploying service "+d.Spec.Name, func(ctx context.Context) error {
		var raw swarm.ServiceSpec
		if current == nil {
			d.apply(&raw)
			created, err := c.api.ServiceCreate(ctx, client.ServiceCreateOptions{Spec: raw})
			c.warn(d.Spec.Name, created.Warnings)
			id = created.ID
			return err
		}
		id = current.ID
		found, err := c.serviceAt(ctx, current.ID, current.Version)
		if err != nil {
			return err
		}
		raw = found.Spec
		d.apply(&raw)
		updated, err := c.api.ServiceUpdate(ctx, id, client.ServiceUpdateOptions{Version: swarm.Version{Index: current.Version}, Spec: raw})
		c.warn(d.Spec.Name, updated.Warnings)
		return err
	})
	return id, err
}

func (d Deployment) apply(raw *swarm.ServiceSpec) {
	apply(raw, d.Spec)
	raw.TaskTemplate.ContainerSpec.Healthcheck = &container.HealthConfig{
		Test: append([]string{"CMD"}, d.Health.Command...), Interval: d.Health.Interval, Timeout: d.Health.Timeout,
		StartPeriod: d.Health.StartPeriod, Retries: d.Health.Retries,
	}
	if raw.TaskTemplate.Resources == nil {
		raw.TaskTemplate.Resources = &swarm.ResourceRequirements{}
	}
	raw.TaskTemplate.Resources.Limits = &swarm.Limit{NanoCPUs: int64(d.CPULimit * 1e9), MemoryBytes: d.MemoryLimit}
	if !d.RollBack {
		return
	}
	if raw.UpdateConfig == nil {
		raw.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1}
	}
	raw.UpdateConfig.FailureAction, raw.UpdateConfig.Monitor = swarm.UpdateFailureActionRollback, d.Monitor
	raw.RollbackConfig = &swarm.UpdateConfig{Parallelism: 1, Order: raw.UpdateConfig.Order}
}

// CreateNetwork makes an overlay network and returns its ID. A name that is
// taken is plan.ErrOutdated.
func (c *Client) CreateNetwork(ctx context.Context, name string, labels map[string]string) (id string, err error) {
	err = c.write(ctx, "creating network "+name, func(ctx context.Context) error {
		created, err := c.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "overlay", Scope: "swarm", Labels: labels})
		id = created.ID
		return err
	})
	return id, err
}

// RemoveNetwork removes a network; one that is gone already is removed.
func (c *Client) RemoveNetwork(ctx context.Context, id string) error {
	return c.remove(ctx, "removing network "+id, func(ctx context.Context) error {
		_, err := c.api.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
		return err
	})
}
