package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// retryAfter is when a change that Swarm refused is tried again.
const retryAfter = 5 * time.Second

// reconciler makes one reading of Swarm true: in the tables, in the services
// that Interlock keeps and in what proxies are sent. Between passes it keeps
// only what stops it from doing a thing twice before Swarm shows it, and since
// when networks have been needed or not.
type reconciler struct {
	settings  *settings.Settings
	applier   Applier
	deliverer Deliverer
	issuer    Issuer
	container string
	// removalGrace is as in Options.
	removalGrace time.Duration
	tables       *Tables
	log          *slog.Logger
	// desk is where tasks wait that do not accept connections yet.
	desk admission.Desk

	started time.Time // of the first pass
	marks   plan.Marks
	routes  route.Memory
	own     ownTask
	// mountable are by the extension's name.
	mountable map[string]*mountable
	kept      kept
	created   map[createdKey]time.Time
	// attempted is what was last applied to each service, by its ID, as JSON:
	// what Swarm has rolled back is not tried again.
	attempted map[string]string
	// attachments are those of the proxy services, by the extension's name.
	attachments map[string]*attachments
	// rollouts are those of the proxy services without an agent, by the
	// extension's name.
	rollouts map[string]*rollout
	// mounts are the secrets of the extension services, by the extension's name.
	mounts map[string]*plan.SecretMounts
	// lacking is since when extensions have had no content of secrets.
	lacking map[lack]time.Time
	// courts are of the clusters, by name.
	courts map[string]*court
	// unneeded is since when services and secrets are, by ID.
	unneeded map[string]time.Time
}

// kept remembers what came of keeping the services by one reading, which must
// not be acted on again but to retry what failed, to do what is due later, or
// because proxies without an agent are to get another bundle.
type kept struct {
	snap     *snapshot.Snapshot
	offers   string
	problems []problem.Problem
	againAt  time.Time // zero: not before the next reading
}

// again asks to be acted on after a wait; 0 is none.
func (k *kept) again(now time.Time, wait time.Duration) {
	if at := now.Add(wait); wait > 0 && (k.againAt.IsZero() || at.Before(k.againAt)) {
		k.againAt = at
	}
}

// fail takes note of what Swarm refused, to try it again.
func (k *kept) fail(service string, err error, now time.Time) {
	k.problems = append(k.problems, problem.Problem{Kind: problem.SwarmRefused, Service: service, Message: err.Error()})
	k.again(now, retryAfter)
}

// createdKey is a service that was created. For a while a reading that began
// before may still be without it.
type createdKey struct {
	extension string
	role      plan.Role
}

// How long after its creation a service, and after the core's start its own
// task, may still be missing from readings.
const (
	createdVisible = 10 * time.Second
	ownTaskVisible = 10 * time.Second
)

// pass returns what is wrong, and after how long to try again; 0 for not
// before something changes.
func (r *reconciler) pass(ctx context.Context, snap *snapshot.Snapshot, now time.Time) ([]problem.Problem, time.Duration) {
	if r.started.IsZero() {
		r.started = now
	}
	fresh := now.Before(r.started.Add(ownTaskVisible))
	here := locate(snap, r.own.find(snap, r.container), r.container, r.settings.ListenAddr, r.settings.EndpointOverride, fresh)
	k := plan.Keeper{Owner: here.service, Seal: r.issuer.Seal, Marks: &r.marks}

	// Proxies come first: Swarm may take long to answer.
	problems, needed, judge := r.publish(snap, k, here, now)
	delivered, again := r.deliver(snap, k, here, now)
	again = sooner(again, judge)
	kept, retry := r.keepServices(ctx, snap, k, here, needed, now)
	problems = slices.Concat(problems, delivered, kept, k.TaskProblems(snap))
	return problem.Sort(problems), sooner(again, retry)
}

// publish builds the tables of all clusters and makes them current. It returns
// what each extension's proxies need, in the order of the extensions, and after
// how long to look again at tasks that wait to be admitted.
func (r *reconciler) publish(snap *snapshot.Snapshot, k plan.Keeper, here place, now time.Time) ([]problem.Problem, []needs, time.Duration) {
	stack, reserved := ownStack(snap, here), reservedSecrets(snap, here)
	needed := make([]needs, len(r.settings.Extensions))
	clusters := make([]route.Cluster, len(r.settings.Extensions))
	for i, e := range r.settings.Extensions {
		proxy := k.Find(snap, e.Name, plan.RoleProxy)
		needed[i].attachable = attachable(snap, proxy, e, stack)
		clusters[i] = route.Cluster{
			Name: e.ServiceCluster, Networks: reached(snap, proxy, needed[i].attachable), Attachable: needed[i].attachable,
			Reserved: reserved,
		}
	}
	admitted := r.admit(snap, clusters, now)
	built, problems := r.routes.Build(r.taken(admitted.Snapshot), clusters)
	for i, e := range r.settings.Extensions {
		needed[i].networks, needed[i].secrets = built[i].Needs, r.materials(e.Name, snap, built[i].Table)
		if g := r.tables.publish(e.ServiceCluster, built[i], parameters(e), now); g != 0 {
			r.log.Debug("table published", "cluster", e.ServiceCluster, "generation", g, "table", built[i].Version)
		}
		r.court(e.ServiceCluster).ward.Published(built[i].Version)
		r.publishTrial(admitted.Snapshot, e, clusters[i], now)
	}
	return append(problems, admitted.Problems...), needed, admitted.Again
}

// keepServices brings the extension and proxy services to what is configured.
func (r *reconciler) keepServices(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, here place, needed []needs, now time.Time) ([]problem.Problem, time.Duration) {
	due := !r.kept.againAt.IsZero() && !now.Before(r.kept.againAt)
	if offers := r.offers(); r.kept.snap != snap || r.kept.offers != offers || due {
		r.kept = r.actOn(ctx, snap, k, here, needed, now)
		r.kept.offers = offers
	}
	if r.kept.againAt.IsZero() {
		return r.kept.problems, 0
	}
	return r.kept.problems, r.kept.againAt.Sub(now)
}

func (r *reconciler) actOn(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, here place, needed []needs, now time.Time) kept {
	result := kept{snap: snap}
	if here.starting {
		result.again(now, r.started.Add(ownTaskVisible).Sub(now))
	}
	if here.problem != nil {
		result.problems = append(result.problems, *here.problem)
	}
	for _, e := range r.settings.Extensions {
		result.problems = append(result.problems, unknownNetworks(snap, k, e, ownStack(snap, here))...)
	}
	wanted := r.wanted(ctx, snap, k, here, now, &result)
	result.problems = append(result.problems, addTemplates(r.settings, snap, k, wanted)...)
	result.again(now, r.attach(snap, k, wanted, needed, now))
	result.again(now, r.mount(snap, k, wanted, needed, now))
	r.rollOut(ctx, snap, k, wanted, now, &result)
	actions, problems := k.Services(snap, wanted)
	result.problems = append(result.problems, problems...)
	for _, a := range actions {
		if p := r.rolledBack(snap, a); p != nil {
			result.problems = append(result.problems, *p)
			continue
		}
		if err := r.apply(ctx, a, now); err != nil {
			result.fail(actionName(a), err, now)
		}
	}
	if here.leads {
		r.tidy(ctx, snap, k, now, &result)
	}
	if here.leads && here.service != "" {
		r.remove(ctx, snap, k, now, &result)
	}
	return result
}

// wanted lists what is configured. What cannot be made now is held.
func (r *reconciler) wanted(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, here place, now time.Time, out *kept) []plan.Wanted {
	var wanted []plan.Wanted
	for _, e := range r.settings.Extensions {
		for _, role := range []plan.Role{plan.RoleExtension, plan.RoleProxy} {
			w := plan.Wanted{Extension: e.Name, Role: role, Hold: true}
			switch {
			case !here.leads || r.awaited(snap, k, e.Name, role, now):
			case role == plan.RoleProxy && !e.Hitless():
				w.Hold, w.Spec = false, agentlessSpec(e)
			default:
				identity, found, err := r.identity(ctx, snap, k, e, role, now)
				if err != nil {
					out.fail("", err, now)
				}
				// A service whose identity has just been issued waits for the
				// reading that shows it; an extension for the core's endpoint.
				w.Hold = !found || (role == plan.RoleExtension && here.endpoint == "")
				w.Spec = spec(e, role, here, identity)
			}
			wanted = append(wanted, w)
		}
	}
	return wanted
}

// awaited reports whether a service was created just now and is not in the
// reading yet.
func (r *reconciler) awaited(snap *snapshot.Snapshot, k plan.Keeper, extension string, role plan.Role, now time.Time) bool {
	at, created := r.created[createdKey{extension, role}]
	return created && k.Find(snap, extension, role) == nil && now.Sub(at) < createdVisible
}

func spec(e settings.Extension, role plan.Role, here place, identity snapshot.Object) snapshot.ServiceSpec {
	if role == plan.RoleProxy {
		return proxySpec(e, identity)
	}
	return extensionSpec(e, here, identity)
}

// apply does one action. One that somebody else has overtaken is planned anew
// when the next reading comes.
func (r *reconciler) apply(ctx context.Context, a plan.Action, now time.Time) error {
	var err error
	if a.Kind == plan.Create {
		err = r.create(ctx, a.Spec, now)
	} else {
		err = r.applier.UpdateService(ctx, a.ServiceID, a.Version, a.Spec)
	}
	switch {
	case errors.Is(err, plan.ErrOutdated):
		r.log.Debug("change of a service overtaken by another", "change", string(a.Kind), "service", a.Spec.Name)
		return nil
	case err == nil && a.Kind == plan.Update:
		r.attempted[a.ServiceID] = a.Spec.Labels[plan.LabelApplied]
		r.log.Info("service updated", "service", a.Spec.Name, "changed", strings.Join(a.Changed, ", "))
	}
	return err
}

// rolledBack is a problem when Swarm, or an operator, has taken back the very
// change that an action would make again.
func (r *reconciler) rolledBack(snap *snapshot.Snapshot, a plan.Action) *problem.Problem {
	s := snap.Service(a.ServiceID)
	if s == nil || !s.Update.RolledBack() || r.attempted[a.ServiceID] != a.Spec.Labels[plan.LabelApplied] {
		return nil
	}
	if p := r.takenBack(s); p != nil {
		return p
	}
	return &problem.Problem{Kind: problem.RolledBack, Service: s.Spec.Name, Message: fmt.Sprintf(
		"its last update (%s) was rolled back and is not tried again until config.toml changes: docker service ps --no-trunc %s says why its tasks failed",
		strings.Join(a.Changed, ", "), s.Spec.Name)}
}

func (r *reconciler) create(ctx context.Context, spec snapshot.ServiceSpec, now time.Time) error {
	id, err := r.applier.CreateService(ctx, spec)
	if err != nil {
		return err
	}
	r.created[createdKey{spec.Labels[plan.LabelExtension], plan.Role(spec.Labels[plan.LabelRole])}] = now
	r.log.Info("service created", "service", spec.Name, "id", id)
	return nil
}

func actionName(a plan.Action) string {
	if a.Spec.Name != "" {
		return a.Spec.Name
	}
	return "(unnamed " + a.Spec.Labels[plan.LabelRole] + ")"
}

// answerLimit is how long an extension may take to render a table before that
// is a problem: 10,000 hosts take it less than a second.
const answerLimit = 10 * time.Second

// deliver says which proxies there are and what they should serve, and
// collects what is wrong with that, and after how long more may be.
func (r *reconciler) deliver(snap *snapshot.Snapshot, k plan.Keeper, here place, now time.Time) ([]problem.Problem, time.Duration) {
	var problems []problem.Problem
	var again time.Duration
	wanted := make(map[string]string)
	for _, e := range r.settings.Extensions {
		answer := r.tables.rendered(e.ServiceCluster)
		switch waited := now.Sub(answer.asked); {
		case answer.failure != "":
			problems = append(problems, problem.Problem{Kind: problem.RenderFailed, Service: e.ServiceName, Message: fmt.Sprintf(
				"the extension could not render the newest routes, so the proxies keep the last ones: %s", answer.failure)})
		case !answer.current && waited >= answerLimit:
			problems = append(problems, silent(e, here))
		case !answer.current:
			again = sooner(again, answerLimit-waited)
		}
		lacks, wait := r.extensionProblems(e, answer, now)
		problems, again = append(problems, lacks...), sooner(again, wait)
		if !e.Hitless() {
			// Agents that are still there go on with what they have.
			r.deliverer.Deliver(e.ServiceCluster, nil, nil)
			continue
		}
		bundle := bundleOf(answer, e)
		if bundle != nil {
			wanted[e.ServiceCluster] = answer.version
		}
		r.deliverer.Deliver(e.ServiceCluster, proxies(snap, k, e), bundle)
	}
	statuses, _ := r.deliverer.Statuses()
	for _, e := range r.settings.Extensions {
		c := r.court(e.ServiceCluster)
		again = sooner(again, r.judge(e, c, wanted[e.ServiceCluster], now))
		problems = append(problems, c.problems(proxyServiceName(snap, k, r.settings.Extensions, e.ServiceCluster), e)...)
	}
	return append(problems, deliveryProblems(snap, k, r.settings, statuses, wanted)...), again
}

func silent(e settings.Extension, here place) problem.Problem {
	return problem.Problem{Kind: problem.Unreachable, Service: e.ServiceName, Message: fmt.Sprintf(
		"the extension has not rendered the newest routes for %s, so the proxies keep the last ones: see that its task runs, and that it reaches the core at %q from its node",
		answerLimit, here.endpoint)}
}

// proxies finds the agents of a cluster's proxies through Swarm.
func proxies(snap *snapshot.Snapshot, k plan.Keeper, e settings.Extension) []delivery.Proxy {
	service := k.Find(snap, e.Name, plan.RoleProxy)
	if service == nil {
		return nil
	}
	var list []delivery.Proxy
	for _, t := range snap.TasksOf(service.ID) {
		if t.State != snapshot.TaskRunning {
			continue
		}
		node := snap.Node(t.NodeID)
		if node == nil || !node.Addr.IsValid() {
			continue
		}
		// One that is told to stop still serves: it gets bundles to its end.
		if port, ok := t.HostPort(AgentPort, node.Addr); ok {
			list = append(list, delivery.Proxy{Task: t.ID, Node: node.Hostname, Addr: netip.AddrPortFrom(node.Addr, port)})
		}
	}
	return list
}

// deliveryProblems says what keeps proxies from serving the wanted bundles,
// given by version for each cluster.
func deliveryProblems(snap *snapshot.Snapshot, k plan.Keeper, s *settings.Settings, statuses []delivery.Status, wanted map[string]string) []problem.Problem {
	var problems []problem.Problem
	for _, status := range statuses {
		name := proxyServiceName(snap, k, s.Extensions, status.Cluster)
		switch {
		case status.RefusedVersion != "" && status.RefusedVersion == wanted[status.Cluster]:
			problems = append(problems, problem.Problem{Kind: problem.BundleRefused, Service: name, Message: fmt.Sprintf(
				"the proxy on node %s refused the newest configuration and goes on with the one before; it says: %s", status.Node, status.Refusal)})
		case status.LastError != "":
			problems = append(problems, problem.Problem{Kind: problem.Unreachable, Service: name, Message: fmt.Sprintf(
				"the proxy on node %s at %s cannot be brought the newest routes and goes on with those that it has: %s", status.Node, status.Addr, status.LastError)})
		}
	}
	return problems
}

func proxyServiceName(snap *snapshot.Snapshot, k plan.Keeper, extensions []settings.Extension, cluster string) string {
	i := slices.IndexFunc(extensions, func(e settings.Extension) bool { return e.ServiceCluster == cluster })
	if i < 0 {
		return ""
	}
	if service := k.Find(snap, extensions[i].Name, plan.RoleProxy); service != nil {
		return service.Spec.Name
	}
	return extensions[i].ProxyServiceName
}
