package docker

import (
	"context"
	"errors"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// CreateService creates a service and returns its ID. A name that is taken is
// plan.ErrOutdated; a network, secret or config that is missing is not.
func (c *Client) CreateService(ctx context.Context, spec snapshot.ServiceSpec) (id string, err error) {
	var raw swarm.ServiceSpec
	apply(&raw, spec)
	err = c.write(ctx, "creating service "+spec.Name, func(ctx context.Context) error {
		created, err := c.api.ServiceCreate(ctx, client.ServiceCreateOptions{Spec: raw})
		c.warn(spec.Name, created.Warnings)
		id = created.ID
		return err
	})
	return id, err
}

// UpdateService makes a service say what spec says, and leaves what spec does
// not model as it is. It is plan.ErrOutdated if the service is gone or no longer
// of that version, but not if a network, secret or config is missing.
func (c *Client) UpdateService(ctx context.Context, id string, version uint64, spec snapshot.ServiceSpec) error {
	return c.write(ctx, "updating service "+spec.Name, func(ctx context.Context) error {
		current, err := c.serviceAt(ctx, id, version)
		if err != nil {
			return err
		}
		raw := current.Spec
		apply(&raw, spec)
		updated, err := c.api.ServiceUpdate(ctx, id, client.ServiceUpdateOptions{
			Version: swarm.Version{Index: version},
			Spec:    raw,
		})
		c.warn(spec.Name, updated.Warnings)
		if cerrdefs.IsNotFound(err) { // the service, or something that it is to use
			if _, since := c.serviceAt(ctx, id, version); errors.Is(since, plan.ErrOutdated) {
				return since
			}
		}
		return err
	})
}

// serviceAt is plan.ErrOutdated if the service is gone or of another version.
func (c *Client) serviceAt(ctx context.Context, id string, version uint64) (swarm.Service, error) {
	found, err := c.api.ServiceInspect(ctx, id, client.ServiceInspectOptions{})
	if err != nil {
		return swarm.Service{}, ifGone(err)
	}
	if now := found.Service.Version.Index; now != version {
		return swarm.Service{}, fmt.Errorf("%w: it is at version %d, not %d", plan.ErrOutdated, now, version)
	}
	return found.Service, nil
}

// RemoveService removes a service; one that is gone already is removed.
func (c *Client) RemoveService(ctx context.Context, id string) error {
	return c.remove(ctx, "removing service "+id, func(ctx context.Context) error {
		_, err := c.api.ServiceRemove(ctx, id, client.ServiceRemoveOptions{})
		return err
	})
}

// CreateSecret stores data, of less than 500 KiB, as a secret and returns its
// ID. A name that is taken is plan.ErrOutdated.
func (c *Client) CreateSecret(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error) {
	err = c.write(ctx, "creating secret "+name, func(ctx context.Context) error {
		created, err := c.api.SecretCreate(ctx, client.SecretCreateOptions{Spec: swarm.SecretSpec{
			Annotations: swarm.Annotations{Name: name, Labels: labels}, Data: data,
		}})
		id = created.ID
		return err
	})
	return id, err
}

// RemoveSecret removes a secret; one that is gone already is removed.
func (c *Client) RemoveSecret(ctx context.Context, id string) error {
	return c.remove(ctx, "removing secret "+id, func(ctx context.Context) error {
		_, err := c.api.SecretRemove(ctx, id, client.SecretRemoveOptions{})
		return err
	})
}

// CreateConfig stores data, of less than 1000 KiB, as a config and returns its
// ID. A name that is taken is plan.ErrOutdated.
func (c *Client) CreateConfig(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error) {
	err = c.write(ctx, "creating config "+name, func(ctx context.Context) error {
		created, err := c.api.ConfigCreate(ctx, client.ConfigCreateOptions{Spec: swarm.ConfigSpec{
			Annotations: swarm.Annotations{Name: name, Labels: labels}, Data: data,
		}})
		id = created.ID
		return err
	})
	return id, err
}

// ReadConfig returns a config's content. A config that is gone is plan.ErrOutdated.
func (c *Client) ReadConfig(ctx context.Context, id string) (data []byte, err error) {
	err = c.write(ctx, "reading config "+id, func(ctx context.Context) error {
		found, err := c.api.ConfigInspect(ctx, id, client.ConfigInspectOptions{})
		data = found.Config.Spec.Data
		return ifGone(err)
	})
	return data, err
}

// RemoveConfig removes a config; one that is gone already is removed.
func (c *Client) RemoveConfig(ctx context.Context, id string) error {
	return c.remove(ctx, "removing config "+id, func(ctx context.Context) error {
		_, err := c.api.ConfigRemove(ctx, id, client.ConfigRemoveOptions{})
		return err
	})
}

func (c *Client) remove(ctx context.Context, doing string, call func(context.Context) error) error {
	return c.write(ctx, doing, func(ctx context.Context) error {
		if err := call(ctx); !cerrdefs.IsNotFound(err) {
			return err
		}
		return nil
	})
}

// write makes one call with a deadline, on an API whose version is agreed.
func (c *Client) write(ctx context.Context, doing string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, writeLimit, fmt.Errorf("no answer within %s", writeLimit))
	defer cancel()
	_, err := c.negotiate(ctx)
	if err == nil {
		err = call(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	}
	return failed(doing, err)
}

func (c *Client) warn(service string, warnings []string) {
	for _, w := range warnings {
		c.log.Warn("docker warns about a service", "service", service, "warning", w)
	}
}
