package core_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

func withTemplate() *settings.Settings {
	cfg := config()
	cfg.Extensions[0].Template = "my-template"
	return cfg
}

func addConfig(r running, id string) {
	r.swarm.change(func(s *snapshot.Lists) {
		s.Configs = slices.DeleteFunc(s.Configs, func(o snapshot.Object) bool { return o.Name == "my-template" })
		s.Configs = append(s.Configs, snapshot.Object{ID: id, Name: "my-template"})
	})
	r.wait(2 * time.Second)
}

func wantTemplate(t *testing.T, r running, id string) {
	t.Helper()
	want := []snapshot.FileRef{{ID: id, Name: "my-template", Target: core.TemplateFile, Mode: 0o444}}
	if diff := cmp.Diff(want, r.spec(t, "interlock-ext").Configs); diff != "" {
		t.Errorf("the extension's configs (-want +got):\n%s", diff)
	}
	if configs := r.spec(t, "interlock-proxy").Configs; len(configs) != 0 {
		t.Errorf("the proxy has the configs %v", configs)
	}
}

func TestTheConfigThatTemplateNamesIsAttachedAndAnewWhenItIsReplaced(t *testing.T) {
	s := cluster()
	run(t, s, withTemplate(), func(r running) {
		addConfig(r, "config-1")
		r.settle()
		wantTemplate(t, r, "config-1")
		addConfig(r, "config-2")
		wantTemplate(t, r, "config-2")
		if problems := r.Problems(); slices.ContainsFunc(problems, func(p problem.Problem) bool { return p.Kind == problem.NoConfig }) {
			t.Errorf("problems: %v", problems)
		}
	})
}

func TestWithoutItsTemplateAnExtensionIsNotMadeAndOneThatIsThereGoesOn(t *testing.T) {
	run(t, cluster(), withTemplate(), func(r running) {
		r.wait(5 * time.Second)
		r.expectProblem(t, problem.NoConfig, "docker config create my-template")
		if r.has("interlock-ext") || !r.has("interlock-proxy") {
			t.Error("want the proxy service and no extension service")
		}
		addConfig(r, "config-1")
		r.settle()
		wantTemplate(t, r, "config-1")

		r.swarm.change(func(s *snapshot.Lists) { s.Configs = nil })
		r.wait(5 * time.Second)
		r.expectProblem(t, problem.NoConfig, "my-template")
		wantTemplate(t, r, "config-1")
	})
}

func TestATemplateThatTheOperatorAttachesByHandStays(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		byHand := snapshot.FileRef{ID: "config-9", Name: "theirs", Target: core.TemplateFile, Mode: 0o444}
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Services, func(v snapshot.Service) bool { return strings.HasSuffix(v.ID, "interlock-ext") })
			s.Services[i].Spec.Configs = []snapshot.FileRef{byHand}
			s.Services[i].Version++
		})
		r.settle()
		if diff := cmp.Diff([]snapshot.FileRef{byHand}, r.spec(t, "interlock-ext").Configs); diff != "" {
			t.Errorf("the extension's configs (-want +got):\n%s", diff)
		}
	})
}

func (r running) has(service string) bool {
	r.swarm.mu.Lock()
	defer r.swarm.mu.Unlock()
	return slices.ContainsFunc(r.swarm.lists.Services, func(s snapshot.Service) bool { return s.Spec.Name == service })
}
