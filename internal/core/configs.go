package core

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// keptConfigs is how many configs there are of each file of a bundle.
const keptConfigs = 3

// errTooLarge is for a file that no Docker config can hold.
var errTooLarge = errors.New("too large for a Docker config")

// store makes a config of each file of a bundle, unless there is one.
func (r *reconciler) store(ctx context.Context, t turn, b *render.Bundle) ([]snapshot.FileRef, error) {
	for _, f := range b.Files {
		if f.Sensitive {
			return nil, fmt.Errorf("the extension put a key into %s, and Docker gives out a config's content to whoever asks: it must name the secrets that are mounted", f.Path)
		}
		if f.Size() > render.MaxConfig {
			return nil, fmt.Errorf("%w: %s has %d bytes, and Swarm takes at most %d", errTooLarge, f.Path, f.Size(), render.MaxConfig)
		}
	}
	files := make([]snapshot.FileRef, len(b.Files))
	for i, f := range b.Files {
		name := configName(t.extension, f)
		id, err := r.storeFile(ctx, t, name, f)
		if err != nil {
			return nil, err
		}
		files[i] = snapshot.FileRef{ID: id, Name: name, Target: f.Path, Mode: 0o444}
	}
	return files, nil
}

func (r *reconciler) storeFile(ctx context.Context, t turn, name string, f render.File) (id string, err error) {
	configs := t.keeper.Configs(t.snap, t.extension.Name)
	if i := slices.IndexFunc(configs, func(c snapshot.Object) bool { return c.Name == name }); i >= 0 {
		// Labels can be copied, and a name is free once we have removed it.
		switch data, err := r.applier.ReadConfig(ctx, configs[i].ID); {
		case err != nil:
			return "", err
		case !bytes.Equal(data, f.Data()):
			return "", fmt.Errorf("the Docker config %s does not hold what Interlock gave it: docker config rm %[1]s", name)
		}
		return configs[i].ID, nil
	}
	id, err = r.applier.CreateConfig(ctx, name, t.keeper.ConfigLabels(name, t.extension.Name, f.Path), f.Data())
	if errors.Is(err, plan.ErrOutdated) {
		return "", fmt.Errorf("the name of the Docker config %s is taken, by somebody else if this lasts: docker config rm %[1]s: %w", name, err)
	}
	if err == nil {
		r.log.Info("config created", "config", name, "extension", t.extension.Name, "bytes", f.Size())
	}
	return id, err
}

// configName follows from the content, so that a bundle that comes again finds
// its configs. Docker allows 64 characters.
func configName(e *settings.Extension, f render.File) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(f.Path), f.Path)
	h.Write(f.Data())
	return fmt.Sprintf("interlock-%s-%x", unique(e.Name), h.Sum(nil)[:6])
}

// refused takes note of what Swarm or its limits do not allow.
func (k *kept) refused(e *settings.Extension, err error, now time.Time) {
	if !errors.Is(err, errTooLarge) {
		k.fail(e.ProxyServiceName, err, now)
		return
	}
	k.problems = append(k.problems, problem.Problem{Kind: problem.BundleTooLarge, Service: e.ProxyServiceName, Message: fmt.Sprintf(
		"its newest configuration is %s: it goes on with the one before; divide the services among several service clusters, or take Interlock's own proxy image, which knows no such limit", err)})
}

// tidy removes the configs that no proxy needs any more. It leaves them all
// while a proxy service is being updated.
func (r *reconciler) tidy(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, now time.Time, out *kept) {
	for i := range r.settings.Extensions {
		e := &r.settings.Extensions[i]
		proxy := k.Find(snap, e.Name, plan.RoleProxy)
		if proxy == nil || proxy.Update == snapshot.UpdateUpdating || proxy.Update == snapshot.UpdateRollbackStarted {
			continue
		}
		var needed []snapshot.FileRef
		keep := 0
		if !e.Hitless() {
			keep = keptConfigs
		}
		if o := r.rollouts[e.Name]; o != nil {
			needed = o.files
		}
		for _, c := range k.Surplus(snap, e.Name, needed, keep) {
			if err := r.applier.RemoveConfig(ctx, c.ID); err != nil {
				out.fail(e.ProxyServiceName, err, now)
				continue
			}
			r.log.Info("config removed", "config", c.Name, "extension", e.Name)
		}
	}
}
