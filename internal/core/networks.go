package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Swarm replaces all tasks of a service that is attached to another network or
// detached from one, so this is done seldom.
const (
	// attachQuiet is how long a network must have been needed before proxies
	// are attached: what is deployed together is attached together.
	attachQuiet = time.Second
	// attachLimit is how long it waits at most for an update of the proxy
	// service to end, which it would interrupt.
	attachLimit = time.Minute
	// detachQuiet is how long nobody may have needed a network before proxies
	// are detached. It begins anew with each life of the core.
	detachQuiet = time.Hour
)

// stackLabel is what docker stack deploy puts on all that it makes.
const stackLabel = "com.docker.stack.namespace"

// unknownNetworks are the names in an extension's Networks that no network has
// to which proxies could be attached.
func unknownNetworks(snap *snapshot.Snapshot, k plan.Keeper, e settings.Extension, stack string) []problem.Problem {
	var have []string
	meant := make(map[string]bool)
	for i := range snap.Networks {
		n := &snap.Networks[i]
		if n.Ingress {
			continue
		}
		have = append(have, n.Name)
		meant[n.Name] = true
		if name, inStack := strings.CutPrefix(n.Name, stack+"_"); inStack && stack != "" {
			meant[name] = true
		}
	}
	slices.Sort(have)
	if len(have) > namesTold {
		have = append(have[:namesTold], fmt.Sprintf("and %d more", len(have)-namesTold))
	}
	var problems []problem.Problem
	for _, name := range e.Networks {
		if !meant[name] {
			problems = append(problems, problem.Problem{Kind: problem.NoNetwork, Service: proxyServiceName(snap, k, []settings.Extension{e}, e.ServiceCluster), Message: fmt.Sprintf(
				"Networks of extension %s in config.toml names %q, but Swarm has no such network that proxies could be attached to; it has: %s", e.Name, name, cmp.Or(strings.Join(have, ", "), "none"))})
		}
	}
	return problems
}

// namesTold is how many networks a problem lists.
const namesTold = 10

// allowed reports whether the extension's settings let its proxies be attached
// to a network. They may name one of the core's own stack without its prefix.
func allowed(e settings.Extension, n *snapshot.Network, stack string) bool {
	if n.Ingress {
		return false
	}
	if e.Networks == nil || slices.Contains(e.Networks, n.Name) {
		return true
	}
	name, inStack := strings.CutPrefix(n.Name, stack+"_")
	return stack != "" && inStack && slices.Contains(e.Networks, name)
}

func ownStack(snap *snapshot.Snapshot, here place) string {
	if s := snap.Service(here.service); s != nil {
		return s.Spec.Labels[stackLabel]
	}
	return ""
}

// attachable returns the IDs of the networks that proxies may be attached to:
// those first to which they are, because these cost no restart, in the order of
// names. What an operator has attached them to by hand is among them.
func attachable(snap *snapshot.Snapshot, proxy *snapshot.Service, e settings.Extension, stack string) []string {
	var present, byHand []string
	if proxy != nil {
		present = proxy.Spec.Networks
		_, byHand = plan.Networks(proxy)
	}
	networks := make([]*snapshot.Network, 0, len(snap.Networks))
	for i := range snap.Networks {
		networks = append(networks, &snap.Networks[i])
	}
	slices.SortFunc(networks, func(x, y *snapshot.Network) int { return strings.Compare(x.Name, y.Name) })
	var first, rest []string
	for _, n := range networks {
		switch {
		case !slices.Contains(byHand, n.ID) && !allowed(e, n, stack):
		case slices.Contains(present, n.ID):
			first = append(first, n.ID)
		default:
			rest = append(rest, n.ID)
		}
	}
	return append(first, rest...)
}

// reached returns the IDs of those attachable networks to which every running
// proxy is attached: while an update attaches one after the other, a table must
// not send the last of them where it cannot go.
func reached(snap *snapshot.Snapshot, proxy *snapshot.Service, attachable []string) []string {
	if proxy == nil {
		return nil
	}
	networks := slices.Clone(proxy.Spec.Networks)
	networks = slices.DeleteFunc(networks, func(id string) bool { return !slices.Contains(attachable, id) })
	for _, t := range snap.TasksOf(proxy.ID) {
		if !t.Runs() {
			continue
		}
		networks = slices.DeleteFunc(networks, func(id string) bool {
			return !slices.ContainsFunc(t.Attachments, func(a snapshot.Attachment) bool { return a.NetworkID == id })
		})
	}
	return networks
}

// needs are the networks that the services of one cluster need, and all that its
// proxies may be attached to, both by ID; and the secrets for its extension.
type needs struct {
	networks, attachable []string
	secrets              []snapshot.FileRef
}

// attach adds to the wanted proxy services the networks that they should be
// attached to, and returns after how long those will be others; 0 for not before
// something changes.
func (r *reconciler) attach(snap *snapshot.Snapshot, k plan.Keeper, wanted []plan.Wanted, needed []needs, now time.Time) (again time.Duration) {
	for i, e := range r.settings.Extensions {
		at := slices.IndexFunc(wanted, func(w plan.Wanted) bool { return w.Extension == e.Name && w.Role == plan.RoleProxy })
		if r.attachments[e.Name] == nil {
			r.attachments[e.Name] = new(attachments)
		}
		networks, wait := r.attachments[e.Name].wanted(snap, k.Find(snap, e.Name, plan.RoleProxy), needed[i], now)
		wanted[at].Spec.Networks, again = networks, sooner(again, wait)
	}
	return again
}

// attachments remembers, for one proxy service, since when its services need
// networks that it is not attached to, and since when it is attached to networks
// that none of them needs; both by ID.
type attachments struct {
	missing, idle map[string]time.Time
}

// wanted returns the IDs of the networks that the proxy service should be
// attached to on our behalf, and after how long those will be others; 0 for not
// before something changes. What an operator attached it to, or detached it
// from, stays so: see plan.Networks. All that is missing is attached at once.
func (a *attachments) wanted(snap *snapshot.Snapshot, proxy *snapshot.Service, n needs, now time.Time) (ids []string, again time.Duration) {
	if proxy == nil {
		return n.networks, 0
	}
	applied, byHand := plan.Networks(proxy)
	missing, idle := make(map[string]time.Time), make(map[string]time.Time)
	for _, id := range n.networks {
		if !slices.Contains(applied, id) && !slices.Contains(byHand, id) {
			missing[id] = since(a.missing, id, now)
		}
	}
	for _, id := range applied {
		switch known := snap.Network(id) != nil; {
		case slices.Contains(n.networks, id):
			ids = append(ids, id)
		case known && !slices.Contains(n.attachable, id):
			// The configuration excludes it now, so it is left at once.
		default:
			idle[id] = since(a.idle, id, now)
			if left := detachQuiet - now.Sub(idle[id]); left > 0 {
				ids, again = append(ids, id), sooner(again, left)
			}
		}
	}
	a.missing, a.idle = missing, idle
	if len(missing) == 0 {
		return ids, again
	}
	if left := attachWait(missing, proxy.Update, now); left > 0 {
		return ids, sooner(again, left)
	}
	return slices.Concat(ids, slices.Sorted(maps.Keys(missing))), again
}

func since(before map[string]time.Time, id string, now time.Time) time.Time {
	if at, known := before[id]; known {
		return at
	}
	return now
}

// attachWait is how long networks that are missing since then have to wait.
func attachWait(missing map[string]time.Time, update snapshot.UpdateState, now time.Time) time.Duration {
	longest := now.Sub(slices.MinFunc(slices.Collect(maps.Values(missing)), time.Time.Compare))
	if update == snapshot.UpdateUpdating {
		return max(0, attachLimit-longest)
	}
	return max(0, attachQuiet-longest)
}
