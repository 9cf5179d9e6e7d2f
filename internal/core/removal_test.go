package core_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// twoExtensions has an extension of the default cluster, and one of the cluster
// named east.
func twoExtensions() *settings.Settings {
	cfg := config()
	east := cfg.Extensions[0]
	east.Name, east.ServiceCluster, east.ServiceName, east.ProxyServiceName = "east", "east", "east-ext", "east-proxy"
	cfg.Extensions = append(cfg.Extensions, east)
	return cfg
}

// once has everything that a core makes of both extensions, and then lets one
// with another configuration take over.
func once(t *testing.T, s *Swarm, next *settings.Settings, f func(running)) {
	t.Helper()
	var made snapshot.Lists
	run(t, s, twoExtensions(), func(r running) {
		r.swarm.mu.Lock()
		defer r.swarm.mu.Unlock()
		made = r.swarm.lists
	})
	run(t, s, next, func(r running) {
		r.swarm.change(func(s *snapshot.Lists) { s.Services, s.Secrets = made.Services, made.Secrets })
		f(r)
	})
}

func (r running) removed() []string {
	r.swarm.mu.Lock()
	defer r.swarm.mu.Unlock()
	return slices.Clone(r.swarm.removed)
}

// live lets time pass, in which Swarm is read as ever.
func (r running) live(d time.Duration) {
	for ; d > 0; d -= 10 * time.Second {
		r.wait(10 * time.Second)
		r.swarm.show()
	}
	r.wait(time.Second)
}

func TestAnExtensionThatIsTakenOutIsRemovedOnceNothingNeedsIt(t *testing.T) {
	once(t, cluster(), config(), func(r running) {
		r.live(4 * time.Minute)
		if got := r.removed(); len(got) != 0 {
			t.Errorf("within the grace %v were removed", got)
		}
		r.expectProblem(t, problem.Abandoned, "service east-proxy: it is the proxy of extension east, which config.toml no longer names; it is removed 5m0s after nothing needs it any more")
		r.live(8 * time.Minute)
		got := r.removed()
		if len(got) != 4 || got[0] != "svc-east-ext" || got[1] != "svc-east-proxy" ||
			!strings.HasPrefix(got[2], "secret-interlock-extension-") || !strings.HasPrefix(got[3], "secret-interlock-proxy-") {
			t.Errorf("removed: %v", got)
		}
		if slices.ContainsFunc(r.Problems(), func(p problem.Problem) bool { return p.Kind == problem.Abandoned }) {
			t.Errorf("still problems: %v", r.Problems())
		}
	})
}

func TestAnExtensionStaysWhileServicesNameItsCluster(t *testing.T) {
	s := cluster()
	labels := routed("shop.example.com")
	labels["com.docker.lb.service_cluster"] = "east"
	s.Service("shop", labels)
	once(t, s, config(), func(r running) {
		r.live(time.Hour)
		if got := r.removed(); len(got) != 0 {
			t.Errorf("%v were removed", got)
		}
		r.expectProblem(t, problem.Abandoned, "it stays while services name its service cluster, which nobody else serves (shop)")
		r.remove("shop")
		r.live(4 * time.Minute)
		if got := r.removed(); len(got) != 0 {
			t.Errorf("%v were removed at once", got)
		}
		r.live(2 * time.Minute)
		if got := r.removed(); !slices.Contains(got, "svc-east-proxy") {
			t.Errorf("removed: %v", got)
		}
	})
}

func TestAnExtensionStaysUntilItsSuccessorServes(t *testing.T) {
	next := twoExtensions()
	next.Extensions[1].Name, next.Extensions[1].ServiceName, next.Extensions[1].ProxyServiceName = "orient", "orient-ext", "orient-proxy"
	once(t, cluster(), next, func(r running) {
		r.live(time.Hour)
		if got := r.removed(); len(got) != 0 {
			t.Errorf("%v were removed", got)
		}
		r.expectProblem(t, problem.Abandoned, "it stays until a proxy of extension orient serves its service cluster")
		p := play(t, r, "east", func(string) string { return "" })
		defer p.stop()
		r.live(6 * time.Minute)
		if got := r.removed(); !slices.Contains(got, "svc-east-proxy") || !slices.Contains(got, "svc-east-ext") {
			t.Errorf("removed: %v; problems: %v", got, r.Problems())
		}
	})
}

func TestAConfigurationThatNamesAnExtensionAgainKeepsIt(t *testing.T) {
	once(t, cluster(), twoExtensions(), func(r running) {
		r.live(time.Hour)
		if got := r.removed(); len(got) != 0 {
			t.Errorf("%v were removed", got)
		}
	})
}

func TestWhatWasMadeForAnotherCoreIsLeftAlone(t *testing.T) {
	once(t, cluster(), config(), func(r running) {
		r.swarm.change(func(s *snapshot.Lists) {
			for i := range s.Services {
				if labels := maps.Clone(s.Services[i].Spec.Labels); labels["com.docker.interlock.owner"] != "" {
					labels["com.docker.interlock.owner"] = "svc-of-another-core"
					s.Services[i].Spec.Labels = labels // the core may still look at those it had
				}
			}
		})
		r.live(time.Hour)
		if got := r.removed(); len(got) != 0 {
			t.Errorf("%v were removed", got)
		}
		r.expectProblem(t, problem.Abandoned, "it was made for another core and is left alone: once it has no traffic, docker service rm east-proxy")
	})
}

func TestConfigsOfAnExtensionThatIsTakenOutGoOnceItHasNoService(t *testing.T) {
	once(t, cluster(), config(), func(r running) {
		keeper := plan.Keeper{Owner: "svc-interlock", Seal: issuer{}.Seal}
		r.swarm.change(func(s *snapshot.Lists) {
			s.Configs = append(s.Configs,
				snapshot.Object{ID: "ours", Name: "east-1", Labels: keeper.ConfigLabels("east-1", "east", "/etc/nginx/nginx.conf")},
				snapshot.Object{ID: "copied", Name: "other", Labels: keeper.ConfigLabels("east-1", "east", "/etc/nginx/nginx.conf")},
				snapshot.Object{ID: "kept", Name: "default-1", Labels: keeper.ConfigLabels("default-1", "gone elsewhere", "/x")})
			s.Configs[2].Labels[plan.LabelOwner] = "svc-another"
		})
		r.live(12 * time.Minute)
		r.swarm.mu.Lock()
		defer r.swarm.mu.Unlock()
		var left []string
		for _, c := range r.swarm.lists.Configs {
			left = append(left, c.ID)
		}
		if !slices.Equal(left, []string{"copied", "kept"}) {
			t.Errorf("the configs that are left: %v", left)
		}
	})
}
