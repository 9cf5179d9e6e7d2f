package core

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// A bundle for proxies without an agent costs a rolling update of their service,
// so changes are collected.
const (
	// rollQuiet is how long a bundle must have been the newest, and
	// rollQuietLimit how long it waits for that at most.
	rollQuiet      = 2 * time.Second
	rollQuietLimit = 10 * time.Second
	// rollLimit is how long a bundle waits at most for a running update of the
	// proxy service to end. Were it replaced at once, a failure would bring back
	// the one before, of which nobody knows yet that proxies run with it.
	rollLimit = 2 * time.Minute
	// rollbackPause is the least time between two attempts once one was rolled
	// back: each costs a proxy its task.
	rollbackPause = time.Minute
)

// rollout is how far the bundles of one extension are on their way to proxies
// without an agent.
type rollout struct {
	newest  string    // version of the newest bundle
	changed time.Time // when it became the newest
	waiting time.Time // since when a bundle waits for its update; zero: none does
	files   []snapshot.FileRef
	secrets []snapshot.FileRef // that the files name
	stored  time.Time          // when files were
	lastErr string             // Docker's word on the last task that failed
}

// offer takes note of the bundle that there is now.
func (o *rollout) offer(version string, now time.Time) {
	if version == o.newest {
		return
	}
	o.newest, o.changed = version, now
	if o.waiting.IsZero() {
		o.waiting = now
	}
}

// wait is how long the newest bundle has to wait before the proxy service,
// nil if there is none yet, is updated with it.
func (o *rollout) wait(proxy *snapshot.Service, now time.Time) time.Duration {
	waited := now.Sub(o.waiting)
	quiet := min(rollQuiet-now.Sub(o.changed), rollQuietLimit-waited)
	switch {
	case proxy == nil:
		return 0
	case proxy.Update == snapshot.UpdateUpdating || proxy.Update == snapshot.UpdateRollbackStarted:
		quiet = max(quiet, rollLimit-waited)
	case proxy.Update.RolledBack():
		quiet = max(quiet, rollbackPause-now.Sub(o.stored))
	}
	return max(0, quiet)
}

// lacks is how long the newest bundle has to wait for the secrets that it names:
// those to mount are the newest table's, and without all of them the extension
// could not look at what it names.
func (o *rollout) lacks(a answer, now time.Time) time.Duration {
	if a.current && len(a.missing) == 0 {
		return 0
	}
	return min(rollQuiet, max(0, lackLimit-now.Sub(o.waiting)))
}

// forProxies makes secrets readable for every user, as images of others differ in
// the user they run as.
func forProxies(secrets []snapshot.FileRef) []snapshot.FileRef {
	for i := range secrets {
		secrets[i].UID, secrets[i].Mode = "", 0o444
	}
	return secrets
}

// lost reports whether one of the configs has gone: while no service has it,
// anybody may remove it.
func (o *rollout) lost(snap *snapshot.Snapshot, now time.Time) bool {
	return now.Sub(o.stored) >= createdVisible && slices.ContainsFunc(o.files, func(file snapshot.FileRef) bool {
		return !slices.ContainsFunc(snap.Configs, func(c snapshot.Object) bool { return c.ID == file.ID })
	})
}

// turn is one look at how far an extension's bundles are.
type turn struct {
	snap      *snapshot.Snapshot
	keeper    plan.Keeper
	extension *settings.Extension
	proxy     *snapshot.Service // nil if there is none
	now       time.Time
}

// offers tells one set of bundles for proxies without an agent from another.
func (r *reconciler) offers() string {
	var b strings.Builder
	for i := range r.settings.Extensions {
		if e := &r.settings.Extensions[i]; !e.Hitless() {
			fmt.Fprintf(&b, "%s ", r.tables.rendered(e.ServiceCluster).version)
		}
	}
	return b.String()
}

// rollOut adds to the wanted proxy services without an agent the configs with
// their newest bundles. A service whose bundle must wait is held meanwhile, so
// that whatever else it needs takes no update of its own.
func (r *reconciler) rollOut(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, wanted []plan.Wanted, now time.Time, out *kept) {
	for i := range r.settings.Extensions {
		e := &r.settings.Extensions[i]
		at := slices.IndexFunc(wanted, func(w plan.Wanted) bool { return w.Extension == e.Name && w.Role == plan.RoleProxy })
		if e.Hitless() || wanted[at].Hold {
			continue
		}
		o := r.rollouts[e.Name]
		if o == nil {
			o = &rollout{}
			r.rollouts[e.Name] = o
		}
		t := turn{snap, k, e, k.Find(snap, e.Name, plan.RoleProxy), now}
		o.heed(t)
		ready, wait, err := r.advance(ctx, o, t)
		if err != nil {
			out.refused(e, err, now)
		}
		out.again(now, wait)
		wanted[at].Hold, wanted[at].Spec.Configs, wanted[at].Spec.Secrets = !ready, o.files, o.secrets
		if p := r.takenBack(t.proxy); p != nil && !ready {
			out.problems = append(out.problems, *p)
		}
	}
}

// advance reports whether the newest bundle is there as configs and may be used,
// or after how long to ask again; 0 for not before something changes.
func (r *reconciler) advance(ctx context.Context, o *rollout, t turn) (ready bool, again time.Duration, err error) {
	answer := r.tables.rendered(t.extension.ServiceCluster)
	if answer.bundle == nil {
		return false, 0, nil
	}
	o.offer(answer.version, t.now)
	if o.waiting.IsZero() && !o.lost(t.snap, t.now) {
		return true, 0, nil
	}
	if wait := max(o.wait(t.proxy, t.now), o.lacks(answer, t.now)); wait > 0 {
		return false, wait, nil
	}
	files, err := r.store(ctx, t, answer.bundle)
	if err != nil {
		return false, 0, err
	}
	o.files, o.secrets = files, forProxies(materials(t.snap, answer.table))
	o.stored, o.waiting, o.lastErr = t.now, time.Time{}, ""
	return true, 0, nil
}

// heed remembers why a task of the proxy service failed: once another one runs
// in its place, readings no longer tell.
func (o *rollout) heed(t turn) {
	if t.proxy == nil {
		return
	}
	var newest time.Time
	for _, task := range t.snap.TasksOf(t.proxy.ID) {
		failed := task.State == snapshot.TaskFailed || task.State == snapshot.TaskRejected
		if failed && !task.CreatedAt.Before(newest) {
			o.lastErr, newest = task.Err, task.CreatedAt
		}
	}
}

// takenBack is a problem when Swarm, or an operator, has taken back the last
// bundle that proxies without an agent were given.
func (r *reconciler) takenBack(proxy *snapshot.Service) *problem.Problem {
	if proxy == nil || !proxy.Update.RolledBack() || r.attempted[proxy.ID] == "" || r.attempted[proxy.ID] == proxy.Spec.Labels[plan.LabelApplied] {
		return nil
	}
	o := r.rollouts[proxy.Spec.Labels[plan.LabelExtension]]
	if o == nil || proxy.Spec.Labels[plan.LabelRole] != string(plan.RoleProxy) {
		return nil
	}
	why := ""
	if o.lastErr != "" {
		why = fmt.Sprintf("; Docker says of the task that failed: %s", o.lastErr)
	}
	return &problem.Problem{Kind: problem.RolledBack, Service: proxy.Spec.Name, Message: fmt.Sprintf(
		"its newest configuration was rolled back, so the one before goes on, until the routes or config.toml change%s; docker service logs %s has the proxy's own words", why, proxy.Spec.Name)}
}
