package core

import (
	"fmt"
	"slices"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// TemplateFile is where an extension finds a custom template: the config that
// Template names, or one that the operator has attached by hand.
const TemplateFile = "/etc/docker/extension-template.conf"

// addTemplates adds the custom templates to the extension services.
func addTemplates(s *settings.Settings, snap *snapshot.Snapshot, k plan.Keeper, wanted []plan.Wanted) []problem.Problem {
	var problems []problem.Problem
	for _, e := range s.Extensions {
		i := slices.IndexFunc(wanted, func(w plan.Wanted) bool { return w.Extension == e.Name && w.Role == plan.RoleExtension })
		w := &wanted[i]
		found, p := template(&w.Spec, e, snap, k.Find(snap, e.Name, plan.RoleExtension))
		w.Hold = w.Hold || !found
		if p != nil {
			problems = append(problems, *p)
		}
	}
	return problems
}

// template adds the custom template that the settings name. Where Swarm has no
// such config the service keeps the template that it has; without one it is not
// to be made, as it would serve routes in a form that nobody asked for.
func template(spec *snapshot.ServiceSpec, e settings.Extension, snap *snapshot.Snapshot, current *snapshot.Service) (found bool, p *problem.Problem) {
	if e.Template == "" {
		return true, nil
	}
	for i := range snap.Configs {
		if c := &snap.Configs[i]; c.Name == e.Template {
			spec.Configs = []snapshot.FileRef{{ID: c.ID, Name: c.Name, Target: TemplateFile, Mode: 0o444}}
			return true, nil
		}
	}
	p = &problem.Problem{Kind: problem.NoConfig, Service: serviceName(e.ServiceName, e, plan.RoleExtension), Message: fmt.Sprintf(
		"Template of extension %s names the Docker config %s, which Swarm does not have, so the extension goes on with what it has, or is not started: docker config create %s FILE",
		e.Name, e.Template, e.Template)}
	if current == nil {
		return false, p
	}
	for _, c := range current.Spec.Configs {
		if c.Target == TemplateFile {
			spec.Configs = []snapshot.FileRef{c}
		}
	}
	return true, p
}
