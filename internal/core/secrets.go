package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// secretRoom is how many bytes of a service's description may go to secrets.
// Swarm takes at most 1.5 MiB in one change, and a change of a service holds the
// description before it too.
const secretRoom = 600 << 10

// secretSize is what one takes there, without its name: the reference to it, and
// the same in the label that says what was applied. Each has the name twice.
const secretSize = 140

// materials are the secrets that a table names, for the extension that is to
// render it: sorted by name, under which it finds them. Of more than there is
// room for the oldest are taken, so that nobody's new ones displace them.
func materials(snap *snapshot.Snapshot, t *route.Table) []snapshot.FileRef {
	made := make(map[string]time.Time, len(snap.Secrets))
	for i := range snap.Secrets {
		made[snap.Secrets[i].ID] = snap.Secrets[i].CreatedAt
	}
	refs, room := named(t), secretRoom
	slices.SortStableFunc(refs, func(x, y snapshot.FileRef) int { return made[x.ID].Compare(made[y.ID]) })
	refs = slices.DeleteFunc(refs, func(ref snapshot.FileRef) bool {
		room -= secretSize + 4*len(ref.Name)
		return room < 0
	})
	slices.SortFunc(refs, byName)
	return refs
}

// mountable is what was last found of a table's secrets.
type mountable struct {
	secrets []snapshot.Object
	hosts   []route.VirtualHost
	refs    []snapshot.FileRef
}

// materials are those of [materials], looked for anew only where the hosts of the
// table or Swarm's secrets are others than last time.
func (r *reconciler) materials(extension string, snap *snapshot.Snapshot, t *route.Table) []snapshot.FileRef {
	m := r.mountable[extension]
	if m == nil || !sameList(m.secrets, snap.Secrets) || !sameList(m.hosts, t.Hosts) {
		m = &mountable{secrets: snap.Secrets, hosts: t.Hosts, refs: materials(snap, t)}
		r.mountable[extension] = m
	}
	return slices.Clone(m.refs)
}

// sameList reports whether two lists, which nobody changes, are one.
func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// named are the secrets that a table names, each once, sorted by name.
func named(t *route.Table) []snapshot.FileRef {
	var refs []snapshot.FileRef
	for i := range t.Hosts {
		c := t.Hosts[i].Credential
		if c == nil {
			continue
		}
		for _, m := range []route.Material{c.Chain, c.Key} {
			refs = append(refs, snapshot.FileRef{ID: m.ID, Name: m.Name, Target: m.Name, UID: extensionUser, Mode: 0o400})
		}
	}
	slices.SortFunc(refs, byName)
	return slices.Compact(refs)
}

func byName(x, y snapshot.FileRef) int { return strings.Compare(x.Name, y.Name) }

// mount adds to the wanted extension services the secrets that their tables
// name, and returns after how long those will be others; 0 for not before
// something changes. Docker gives out a secret's content in no other way.
func (r *reconciler) mount(snap *snapshot.Snapshot, k plan.Keeper, wanted []plan.Wanted, needed []needs, now time.Time) (again time.Duration) {
	for i, e := range r.settings.Extensions {
		at := slices.IndexFunc(wanted, func(w plan.Wanted) bool { return w.Extension == e.Name && w.Role == plan.RoleExtension })
		if wanted[at].Hold {
			continue
		}
		if r.mounts[e.Name] == nil {
			r.mounts[e.Name] = new(plan.SecretMounts)
		}
		wait := r.mounts[e.Name].Add(k.Find(snap, e.Name, plan.RoleExtension), &wanted[at], needed[i].secrets, now)
		again = sooner(again, wait)
	}
	return again
}

// lackLimit is how long an extension may be without the content of a secret
// before that is a problem: for it to be mounted, another update of the service
// may have to be waited for, and a task must start.
const lackLimit = 30 * time.Second

// lack is a secret that a cluster's extension has no content of.
type lack struct{ cluster, secret string }

// extensionProblems are an extension's own findings, and what it lacks for too
// long, each for the service that has asked for it; and after how long another
// lack will be one.
func (r *reconciler) extensionProblems(e settings.Extension, a answer, now time.Time) (problems []problem.Problem, again time.Duration) {
	for l := range r.lacking {
		if l.cluster == e.ServiceCluster && !slices.Contains(a.missing, l.secret) {
			delete(r.lacking, l)
		}
	}
	for _, name := range a.missing {
		l := lack{e.ServiceCluster, name}
		if _, known := r.lacking[l]; !known {
			r.lacking[l] = now
		}
		if left := lackLimit - now.Sub(r.lacking[l]); left > 0 {
			again = sooner(again, left)
			continue
		}
		problems = append(problems, lacks(e, a.table, name)...)
	}
	return append(problems, findingProblems(a)...), again
}

// lacks is a problem for every service that names the secret.
func lacks(e settings.Extension, t *route.Table, secret string) []problem.Problem {
	var problems []problem.Problem
	for i := range t.Hosts {
		c := t.Hosts[i].Credential
		if c == nil {
			continue
		}
		for _, named := range []struct {
			label    string
			material route.Material
		}{{"ssl_cert", c.Chain}, {"ssl_key", c.Key}} {
			if named.material.Name == secret && (named.label == "ssl_cert" || c.Key != c.Chain) {
				problems = append(problems, problem.Problem{
					Kind: problem.NoSecret, Service: c.Asker, Label: label.Prefix + named.label, Value: secret, Message: fmt.Sprintf(
						"extension %s has no content of this secret, so what it proves is not served: see that the tasks of its service start and run as user %s; "+
							"where labels name thousands of secrets, there is room for the oldest only",
						e.Name, extensionUser),
				})
			}
		}
	}
	return problem.Sort(problems)
}

// findingProblems puts what is said of several hosts of a service into one problem.
func findingProblems(a answer) []problem.Problem {
	var problems []problem.Problem
	hosts := make(map[problem.Problem][]string)
	for _, f := range a.findings {
		p := ownersProblem(a.table, f)
		if hosts[p] == nil {
			problems = append(problems, p)
		}
		hosts[p] = append(hosts[p], f.Host)
	}
	for i, p := range problems {
		problems[i].Message = fmt.Sprintf("%s: %s", someOf(hosts[p]), p.Message)
	}
	return problems
}

// ownersProblem is for the service that has asked for what was found to be wrong;
// for none if the newest table no longer says which.
func ownersProblem(t *route.Table, f render.Finding) problem.Problem {
	p := problem.Problem{Kind: f.Kind, Message: f.Text}
	i, found := slices.BinarySearchFunc(t.Hosts, f.Host, func(h route.VirtualHost, name string) int { return strings.Compare(h.Name, name) })
	if found && t.Hosts[i].Credential != nil {
		c := t.Hosts[i].Credential
		p.Service, p.Label, p.Value = c.Asker, label.Prefix+"ssl_cert", c.Chain.Name
	}
	return p
}

// someHosts is how many names a message has room for.
const someHosts = 3

func someOf(hosts []string) string {
	if len(hosts) <= someHosts {
		return strings.Join(hosts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(hosts[:someHosts], ", "), len(hosts)-someHosts)
}
