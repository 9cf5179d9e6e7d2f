// Package plan compares the services that Interlock should keep with those
// that Swarm has, and says as data what must be done. Doing it is left to
// whoever applies the actions; deciding what is wanted is left to the core.
package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Labels on the services, secrets and configs that Interlock makes.
const (
	LabelRole      = "com.docker.interlock.role"      // see Role
	LabelExtension = "com.docker.interlock.extension" // name in config.toml
	// LabelApplied holds, as JSON, the specification that was last applied to
	// the service: with it an operator's own changes can be told from ours.
	LabelApplied = "com.docker.interlock.applied"
	// LabelOwner is the ID of the core's own service, empty outside of Swarm.
	LabelOwner = "com.docker.interlock.owner"
	// LabelSeal shows that the other labels were written by this installation.
	LabelSeal = "com.docker.interlock.seal"
)

// ErrOutdated is what a change of Swarm fails with when Swarm is not as it was
// when the change was planned: the object has been changed, exists already or
// is gone. The next reading gives a new plan.
var ErrOutdated = errors.New("changed by somebody else meanwhile")

// Role says what a service is for.
type Role string

// The roles of the services that Interlock keeps.
const (
	RoleExtension Role = "extension"
	RoleProxy     Role = "proxy"
)

// Wanted is a service that should exist.
type Wanted struct {
	Extension string // name in config.toml
	Role      Role
	// Spec is what the configuration asks for. It has a name.
	Spec snapshot.ServiceSpec
	// Hold leaves the service as it is for now, or absent.
	Hold bool
}

// Kind says what an action does.
type Kind string

// The kinds of actions.
const (
	Create Kind = "create"
	Update Kind = "update"
)

// Action is one change to Swarm.
type Action struct {
	Kind Kind
	// ServiceID and Version name what to update: Swarm refuses it if the
	// service has been changed since.
	ServiceID string
	Version   uint64
	Spec      snapshot.ServiceSpec
	// Changed names the fields of the specification that differ, for the log.
	Changed []string
}

// Keeper is the core on whose behalf services are kept.
type Keeper struct {
	Owner string // see LabelOwner
	// Seal marks a list of words in a way that nobody else can: whoever may
	// create services writes labels too, and must not pass for us.
	Seal func(words ...string) string
	// Marks spares looking at every service of each snapshot; nil: each is.
	Marks *Marks
}

// Services plans one action at most for every wanted service, in their order.
func (k Keeper) Services(snap *snapshot.Snapshot, wanted []Wanted) ([]Action, []problem.Problem) {
	var actions []Action
	var problems []problem.Problem
	for _, w := range wanted {
		if w.Hold {
			continue
		}
		w.Spec = w.Spec.Normalized()
		action, found, p := k.one(snap, w)
		if p != nil {
			problems = append(problems, *p)
		}
		if found {
			actions = append(actions, action)
		}
	}
	problems = append(problems, k.strangers(snap)...)
	return actions, problem.Sort(problems)
}

// Marked returns the services with a label that only ours should have, sorted by ID.
func (k Keeper) Marked(snap *snapshot.Snapshot) []*snapshot.Service {
	if k.Marks == nil {
		return new(Marks).of(snap)
	}
	return k.Marks.of(snap)
}

// Find returns the service that plays a role for an extension, or nil.
func (k Keeper) Find(snap *snapshot.Snapshot, extension string, role Role) *snapshot.Service {
	for _, s := range k.Marked(snap) {
		if s.Spec.Labels[LabelExtension] == extension && s.Spec.Labels[LabelRole] == string(role) && k.sealed(s) {
			return s
		}
	}
	return nil
}

// Networks returns the IDs of the networks that were last wanted for a service,
// and of those that an operator attached it to besides.
func Networks(s *snapshot.Service) (applied, byHand []string) {
	applied = lastApplied(s).Networks
	for _, id := range s.Spec.Networks {
		if !slices.Contains(applied, id) {
			byHand = append(byHand, id)
		}
	}
	return applied, byHand
}

// sealed reports whether a service is one of ours. The seal holds for one name
// only, and names are unique in a Swarm, so that copied labels do not count.
func (k Keeper) sealed(s *snapshot.Service) bool {
	labels := s.Spec.Labels
	return labels[LabelSeal] == k.Seal(s.Spec.Name, labels[LabelExtension], labels[LabelRole])
}

func (k Keeper) one(snap *snapshot.Snapshot, w Wanted) (Action, bool, *problem.Problem) {
	current := k.Find(snap, w.Extension, w.Role)
	if current == nil {
		if p := nameTaken(snap, w); p != nil {
			return Action{}, false, p
		}
		return Action{Kind: Create, Spec: k.stamp(w.Spec, w)}, true, nil
	}
	if p := k.contested(snap, current); p != nil {
		return Action{}, false, p
	}
	merged := merge(current.Spec, lastApplied(current), w.Spec)
	merged = k.stamp(merged, w)
	changed := differences(current.Spec, merged)
	return Action{Kind: Update, ServiceID: current.ID, Version: current.Version, Spec: merged, Changed: changed},
		len(changed) > 0, renamed(current, w)
}

// contested is a problem when another core's service, which still exists,
// keeps a service that config.toml gives to us too.
func (k Keeper) contested(snap *snapshot.Snapshot, current *snapshot.Service) *problem.Problem {
	other := k.otherOwner(snap, current.Spec.Labels[LabelOwner])
	if other == nil {
		return nil
	}
	return &problem.Problem{Kind: problem.NameTaken, Service: current.Spec.Name, Message: fmt.Sprintf(
		"it is kept by the core of service %s; two cores must not name the same extension: remove one of them, or rename its extension and services", other.Spec.Name)}
}

// otherOwner returns the service of another core that an owner's label names,
// nil if there is none any more.
func (k Keeper) otherOwner(snap *snapshot.Snapshot, owner string) *snapshot.Service {
	if owner == k.Owner || owner == "" {
		return nil
	}
	return snap.Service(owner)
}

func nameTaken(snap *snapshot.Snapshot, w Wanted) *problem.Problem {
	for _, s := range snap.Services {
		if s.Spec.Name == w.Spec.Name {
			return &problem.Problem{Kind: problem.NameTaken, Service: w.Spec.Name, Message: fmt.Sprintf(
				"the %s of extension %s should have this name, but a service that Interlock did not create has it: remove that service or choose another name in config.toml",
				w.Role, w.Extension)}
		}
	}
	return nil
}

func renamed(current *snapshot.Service, w Wanted) *problem.Problem {
	if w.Spec.Name == current.Spec.Name {
		return nil
	}
	return &problem.Problem{Kind: problem.NameTaken, Service: current.Spec.Name, Message: fmt.Sprintf(
		"config.toml now calls the %s of extension %s %s, but Swarm cannot rename a service: remove it and Interlock creates it anew",
		w.Role, w.Extension, w.Spec.Name)}
}

// Abandoned returns the services that were kept for extensions that configured
// does not name any more.
func (k Keeper) Abandoned(snap *snapshot.Snapshot, configured []string) []*snapshot.Service {
	var list []*snapshot.Service
	for _, s := range k.Marked(snap) {
		extension, role := s.Spec.Labels[LabelExtension], Role(s.Spec.Labels[LabelRole])
		ours := (role == RoleExtension || role == RoleProxy) && k.sealed(s) && k.contested(snap, s) == nil
		if ours && !slices.Contains(configured, extension) {
			list = append(list, s)
		}
	}
	return list
}

// strangers names services that pass for ours.
func (k Keeper) strangers(snap *snapshot.Snapshot) []problem.Problem {
	var problems []problem.Problem
	for _, s := range k.Marked(snap) {
		if s.Spec.Labels[LabelRole] == "" || k.sealed(s) {
			continue
		}
		problems = append(problems, problem.Problem{Kind: problem.Stranger, Service: s.Spec.Name, Label: LabelRole, Value: s.Spec.Labels[LabelRole], Message: "it bears the label of a service that Interlock keeps, but this installation did not create it, so it is left alone: remove the label; " +
			"if the authority has been changed, remove the service and Interlock creates it anew"})
	}
	return problems
}

// stamp adds the labels by which the service is known again.
func (k Keeper) stamp(spec snapshot.ServiceSpec, w Wanted) snapshot.ServiceSpec {
	// No value in a specification can fail to encode, so the error is always nil.
	applied, _ := json.Marshal(w.Spec)
	labels := maps.Clone(spec.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[LabelExtension], labels[LabelRole], labels[LabelApplied] = w.Extension, string(w.Role), string(applied)
	labels[LabelOwner], labels[LabelSeal] = k.Owner, k.Seal(spec.Name, w.Extension, string(w.Role))
	spec.Labels = labels
	return spec
}

// lastApplied is empty where the label is missing or unreadable: everything
// that is wanted is then set again and nothing taken away.
func lastApplied(s *snapshot.Service) snapshot.ServiceSpec {
	var spec snapshot.ServiceSpec
	if err := json.Unmarshal([]byte(s.Spec.Labels[LabelApplied]), &spec); err != nil {
		return snapshot.ServiceSpec{}
	}
	return spec.Normalized()
}

// differences names the fields in which two specifications differ. It compares
// their JSON, for which an empty list and an absent one are the same.
func differences(a, b snapshot.ServiceSpec) []string {
	x, y := fields(a), fields(b)
	names := slices.Collect(maps.Keys(x))
	for name := range y {
		if _, both := x[name]; !both {
			names = append(names, name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return string(x[name]) == string(y[name]) })
	slices.SortFunc(names, strings.Compare)
	return names
}

func fields(spec snapshot.ServiceSpec) map[string]json.RawMessage {
	var byName map[string]json.RawMessage
	encoded, _ := json.Marshal(spec)
	// What was just encoded can be decoded.
	_ = json.Unmarshal(encoded, &byName)
	return byName
}
