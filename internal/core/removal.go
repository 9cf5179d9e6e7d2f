package core

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// RemovalGrace is how long what config.toml no longer names stays when nothing
// needs it, unless the operator wants something else: a mistake can be taken back
// by then. It begins anew with each life of the core, and so with each
// configuration.
const RemovalGrace = 5 * time.Minute

// lookAgain is how often a reason to stay is looked at again that no reading of
// Swarm shows.
const lookAgain = 5 * time.Second

// remove takes away what was made for extensions that are not configured any
// more, once nothing needs it, and tells what stays and why.
func (r *reconciler) remove(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, now time.Time, out *kept) {
	before := r.unneeded
	r.unneeded = make(map[string]time.Time)
	for _, s := range k.Abandoned(snap, r.configured()) {
		if stays := r.stays(snap, k, s); stays != "" {
			out.problems = append(out.problems, abandoned(s, stays))
			out.again(now, lookAgain)
			continue
		}
		if r.wait(before, s.ID, now, out) {
			out.problems = append(out.problems, abandoned(s, fmt.Sprintf(
				"it is removed %s after nothing needs it any more: to keep it, name the extension again", r.removalGrace)))
			continue
		}
		if err := r.applier.RemoveService(ctx, s.ID); err != nil {
			out.fail(s.Spec.Name, err, now)
			continue
		}
		r.log.Info("service removed, as its extension is not configured any more; volumes stay on their nodes", "service", s.Spec.Name)
	}
	r.removeFiles(ctx, snap, k, before, now, out)
}

// wait reports whether something that is not needed now has not been so for long
// enough, and has it looked at again then.
func (r *reconciler) wait(before map[string]time.Time, id string, now time.Time, out *kept) bool {
	r.unneeded[id] = since(before, id, now)
	left := r.removalGrace - now.Sub(r.unneeded[id])
	out.again(now, left)
	return left > 0
}

func abandoned(s *snapshot.Service, stays string) problem.Problem {
	return problem.Problem{Kind: problem.Abandoned, Service: s.Spec.Name, Message: fmt.Sprintf(
		"it is the %s of extension %s, which config.toml no longer names; %s", s.Spec.Labels[plan.LabelRole], s.Spec.Labels[plan.LabelExtension], stays)}
}

func (r *reconciler) configured() []string {
	var names []string
	for _, e := range r.settings.Extensions {
		names = append(names, e.Name)
	}
	return names
}

// stays says why an abandoned service may not be removed; empty: it may.
func (r *reconciler) stays(snap *snapshot.Snapshot, k plan.Keeper, s *snapshot.Service) string {
	byHand := "once it has no traffic, docker service rm " + s.Spec.Name
	if s.Spec.Labels[plan.LabelOwner] != k.Owner {
		return "it was made for another core and is left alone: " + byHand
	}
	cluster, known := r.clusterOf(snap, s.Spec.Labels[plan.LabelExtension])
	if !known {
		return "its service cluster is not known, so it is left alone: " + byHand
	}
	i := slices.IndexFunc(r.settings.Extensions, func(e settings.Extension) bool { return e.ServiceCluster == cluster })
	if i >= 0 {
		if r.serves(snap, k, r.settings.Extensions[i]) {
			return ""
		}
		return fmt.Sprintf("it stays until a proxy of extension %s serves its service cluster: where both publish the same port on the same nodes, docker service rm %s",
			r.settings.Extensions[i].Name, s.Spec.Name)
	}
	if names := wanting(snap, cluster); len(names) > 0 {
		return fmt.Sprintf("it stays while services name its service cluster, which nobody else serves (%s): name the extension again, or take these services' labels away; or, if nobody needs them, docker service rm %s",
			strings.Join(names, ", "), s.Spec.Name)
	}
	return ""
}

// clusterOf is the service cluster in the identities of an extension.
func (r *reconciler) clusterOf(snap *snapshot.Snapshot, extension string) (cluster string, known bool) {
	for i := range snap.Secrets {
		o := &snap.Secrets[i]
		if r.isIdentity(o) && o.Labels[plan.LabelExtension] == extension {
			return o.Labels[labelCluster], true
		}
	}
	return "", false
}

func (r *reconciler) isIdentity(o *snapshot.Object) bool {
	role := o.Labels[plan.LabelRole]
	return (role == identityRole(plan.RoleExtension) || role == identityRole(plan.RoleProxy)) && o.Labels[plan.LabelSeal] == r.issuer.Seal(o.Name)
}

// serves reports whether a proxy of the extension serves what it should. One
// without an agent is taken to do so while it runs.
func (r *reconciler) serves(snap *snapshot.Snapshot, k plan.Keeper, e settings.Extension) bool {
	if !e.Hitless() {
		proxy := k.Find(snap, e.Name, plan.RoleProxy)
		return proxy != nil && len(proxy.Spec.Configs) > 0 && slices.ContainsFunc(snap.TasksOf(proxy.ID), func(t *snapshot.Task) bool {
			return t.State == snapshot.TaskRunning
		})
	}
	answer := r.tables.rendered(e.ServiceCluster)
	return answer.current && slices.ContainsFunc(r.statuses(e.ServiceCluster), func(s delivery.Status) bool {
		return s.BundleVersion == answer.version
	})
}

// wanting returns the names of services that ask to be routed by a cluster; no
// more than three, and how many others there are.
func wanting(snap *snapshot.Snapshot, cluster string) []string {
	var names []string
	for _, s := range snap.Services {
		set, asked, _ := label.Parse(s.Spec.Labels)
		if asked && set.ServiceCluster == cluster {
			names = append(names, s.Spec.Name)
		}
	}
	slices.Sort(names)
	if more := len(names) - 3; more > 0 {
		names = append(names[:3], fmt.Sprintf("and %d more", more))
	}
	return names
}

// removeFiles removes the identities, and the configs with bundles, of extensions
// that are not configured any more and have no service any more.
func (r *reconciler) removeFiles(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, before map[string]time.Time, now time.Time, out *kept) {
	living := r.configured()
	for _, s := range k.Marked(snap) {
		living = append(living, s.Spec.Labels[plan.LabelExtension])
	}
	identities := orphans(snap.Secrets, living, r.isIdentity)
	for _, o := range identities {
		if r.wait(before, o.ID, now, out) {
			continue
		}
		if err := r.applier.RemoveSecret(ctx, o.ID); err != nil {
			out.fail("", fmt.Errorf("removing the identity %s: %w", o.Name, err), now)
			continue
		}
		r.log.Info("identity removed, as its extension is not configured any more", "secret", o.Name)
	}
	ours := func(o *snapshot.Object) bool { return o.Labels[plan.LabelOwner] == k.Owner }
	for _, named := range orphans(snap.Configs, living, ours) {
		for _, o := range k.Surplus(snap, named.Labels[plan.LabelExtension], nil, 0) {
			if o.ID != named.ID || r.wait(before, o.ID, now, out) {
				continue
			}
			if err := r.applier.RemoveConfig(ctx, o.ID); err != nil {
				out.fail("", fmt.Errorf("removing the config %s: %w", o.Name, err), now)
				continue
			}
			r.log.Info("config removed, as its extension is not configured any more", "config", o.Name)
		}
	}
}

// orphans are those of ours whose extension is not among the living.
func orphans(objects []snapshot.Object, living []string, ours func(*snapshot.Object) bool) []snapshot.Object {
	var list []snapshot.Object
	for i := range objects {
		if o := &objects[i]; ours(o) && !slices.Contains(living, o.Labels[plan.LabelExtension]) {
			list = append(list, *o)
		}
	}
	return list
}
