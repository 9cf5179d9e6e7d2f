package core_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/core"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// networked is a Swarm with networks and no app yet.
func networked() *Swarm {
	return cluster().Network("front").Network("back").Network("shop_web").Network("interlock_apps")
}

// app deploys a service that is reached over its networks only.
func (r running) app(name string, networks ...string) {
	r.swarm.change(func(s *snapshot.Lists) {
		service := snapshot.Service{ID: "svc-" + name, Spec: snapshot.ServiceSpec{
			Name: name, Labels: map[string]string{"com.docker.lb.hosts": name + ".local", "com.docker.lb.port": "8080"},
		}}
		for _, n := range networks {
			service.Spec.Networks = append(service.Spec.Networks, "net-"+n)
		}
		s.Services = append(s.Services, service)
	})
}

func (r running) remove(name string) {
	r.swarm.change(func(s *snapshot.Lists) {
		s.Services = slices.DeleteFunc(s.Services, func(s snapshot.Service) bool { return s.Spec.Name == name })
	})
}

// proxy changes the proxy service by hand, or as Swarm does.
func (r running) proxy(f func(*snapshot.Service)) {
	r.swarm.change(func(s *snapshot.Lists) {
		i := slices.IndexFunc(s.Services, func(s snapshot.Service) bool { return s.Spec.Name == "interlock-proxy" })
		s.Services[i].Spec.Networks = slices.Clone(s.Services[i].Spec.Networks)
		f(&s.Services[i])
		s.Services[i].Version++
	})
}

func (r running) expectProxyOn(t *testing.T, networks ...string) {
	t.Helper()
	var want []string
	for _, n := range networks {
		want = append(want, "net-"+n)
	}
	if got := r.spec(t, "interlock-proxy").Networks; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("the proxies are attached to %v, want %v", got, want)
	}
}

func limited(networks ...string) *settings.Settings {
	cfg := config()
	cfg.Extensions[0].Networks = append([]string{}, networks...)
	return cfg
}

func TestProxiesAreCreatedOnTheNetworksThatAppsNeed(t *testing.T) {
	s := networked().Service("demo", map[string]string{"com.docker.lb.hosts": "demo.local", "com.docker.lb.port": "8080"}, Joins("front"))
	run(t, s, config(), func(r running) {
		r.expectProxyOn(t, "front")
		if r.swarm.updates != 0 {
			t.Errorf("%d updates", r.swarm.updates)
		}
	})
}

func TestNetworksThatAreNeededWithinASecondAreAttachedInOneUpdate(t *testing.T) {
	run(t, networked(), config(), func(r running) {
		r.app("one", "front")
		r.wait(900 * time.Millisecond)
		r.app("two", "back")
		r.wait(time.Second)
		r.settle()
		r.expectProxyOn(t, "back", "front")
		if r.swarm.updates != 1 {
			t.Errorf("%d updates, want 1", r.swarm.updates)
		}
	})
}

func TestAnUpdateOfTheProxiesIsNotInterruptedByAnother(t *testing.T) {
	run(t, networked(), config(), func(r running) {
		r.proxy(func(s *snapshot.Service) { s.Update = snapshot.UpdateUpdating })
		r.app("one", "front")
		r.wait(30 * time.Second)
		r.expectProxyOn(t)
		r.proxy(func(s *snapshot.Service) { s.Update = snapshot.UpdateCompleted })
		r.settle()
		r.expectProxyOn(t, "front")
	})
}

func TestAnUpdateThatDoesNotEndHoldsNetworksUpForAMinuteOnly(t *testing.T) {
	run(t, networked(), config(), func(r running) {
		r.proxy(func(s *snapshot.Service) { s.Update = snapshot.UpdateUpdating })
		r.app("one", "front")
		r.wait(61 * time.Second)
		r.expectProxyOn(t, "front")
	})
}

func TestANetworkThatNobodyNeedsIsLeftAfterAQuietHour(t *testing.T) {
	run(t, networked(), config(), func(r running) {
		r.app("one", "front")
		r.app("two", "back")
		r.settle()
		r.remove("one")
		r.wait(50 * time.Minute)
		r.app("one", "front")
		r.wait(time.Minute)
		r.remove("one")
		r.wait(50 * time.Minute)
		r.expectProxyOn(t, "back", "front")
		r.wait(11 * time.Minute)
		r.expectProxyOn(t, "back")
	})
}

func TestWhatTheOperatorAttachedStaysTheOperators(t *testing.T) {
	run(t, networked(), limited("front"), func(r running) {
		r.proxy(func(s *snapshot.Service) { s.Spec.Networks = append(s.Spec.Networks, "net-back") })
		r.app("one", "front")
		r.app("two", "back")
		r.settle()
		r.expectProxyOn(t, "back", "front")
		r.remove("one")
		r.remove("two")
		r.wait(2 * time.Hour)
		r.expectProxyOn(t, "back")
	})
}

func TestANetworkThatTheOperatorTookAwayIsNotAttachedAgain(t *testing.T) {
	run(t, networked(), config(), func(r running) {
		r.app("one", "front")
		r.settle()
		r.proxy(func(s *snapshot.Service) { s.Spec.Networks = nil })
		r.wait(2 * time.Hour)
		r.expectProxyOn(t)
	})
}

func TestNetworksLimitsWhatProxiesAreAttachedTo(t *testing.T) {
	s := NewSwarm(3).Network("front").Network("back").Network("shop_web").Network("interlock_apps").
		Service("interlock", map[string]string{"com.docker.stack.namespace": "interlock"}).Task("interlock", 1, 1, HostPort(8080, 32768))
	for _, n := range []string{"front", "back", "shop_web", "interlock_apps"} {
		name := strings.ReplaceAll(n, "_", "-")
		s.Service(name, map[string]string{"com.docker.lb.hosts": name + ".local", "com.docker.lb.port": "8080"}, Joins(n)).
			Task(name, 1, 2, On(n, "10.1.0.3"))
	}
	run(t, s, limited("front", "shop_web", "web", "apps"), func(r running) {
		r.expectProxyOn(t, "front", "interlock_apps", "shop_web")
		r.wait(5 * time.Second)
		r.expectProblem(t, problem.NoAddress, "Networks in config.toml keeps them from its network back")
	})
	run(t, s, limited(), func(r running) { r.expectProxyOn(t) })
}

func TestANetworkThatANewConfigurationExcludesIsLeftAtOnce(t *testing.T) {
	s := networked()
	run(t, s, config(), func(r running) {
		r.app("one", "front")
		r.settle()
		r.expectProxyOn(t, "front")
		for _, service := range r.swarm.lists.Services {
			if service.Spec.Name == "interlock-proxy" {
				s.Service("interlock-proxy", nil, func(v *snapshot.Service) { v.Spec = service.Spec })
			}
		}
	})
	s.Service("one", map[string]string{"com.docker.lb.hosts": "one.local", "com.docker.lb.port": "8080"}, Joins("front"))
	run(t, s, limited("back"), func(r running) { r.expectProxyOn(t) })
}

func TestRoutesOverANetworkWaitForTheLastProxyToBeAttached(t *testing.T) {
	s := networked().Service("demo", map[string]string{"com.docker.lb.hosts": "demo.local", "com.docker.lb.port": "8080"}, Joins("front")).
		Task("demo", 1, 2, On("front", "10.1.0.9"))
	run(t, s, config(), func(r running) {
		endpoints := func() int {
			p, _ := r.Tables().Publication("")
			return len(p.Table.Upstreams[0].Endpoints)
		}
		attach := On("front", "10.1.0.3")
		task := func(id string) snapshot.Task {
			return snapshot.Task{ID: id, ServiceID: "svc-interlock-proxy", NodeID: "node-2", State: snapshot.TaskRunning, Desired: snapshot.TaskRunning}
		}
		r.swarm.change(func(s *snapshot.Lists) {
			first, last := task("first"), task("last")
			attach(&first)
			s.Tasks = append(s.Tasks, first, last)
		})
		r.wait(time.Second)
		if endpoints() != 0 {
			t.Error("the last proxy is sent to a network that it is not attached to")
		}
		r.swarm.change(func(s *snapshot.Lists) { attach(&s.Tasks[len(s.Tasks)-1]) })
		r.wait(time.Second)
		if endpoints() != 1 {
			t.Error("there is no route though all proxies are attached")
		}
	})
}

// onNetworks is a Swarm whose core publishes nothing.
func onNetworks() *Swarm {
	return NewSwarm(1).Network("zone").Network("interlock").
		Service("interlock", nil, Joins("zone", "interlock")).
		Task("interlock", 1, 1, On("zone", "10.2.0.5"), On("interlock", "10.1.0.5"))
}

func TestACoreWithoutAHostModePortIsReachedOverItsNetwork(t *testing.T) {
	run(t, onNetworks(), config(), func(r running) {
		extension := r.spec(t, "interlock-ext")
		if got := extension.Env[core.EnvCore]; got != "10.1.0.5:8080" {
			t.Errorf("the extension is told %q, want the core's address on the first network by name", got)
		}
		if !slices.Equal(extension.Networks, []string{"net-interlock"}) {
			t.Errorf("the extension is attached to %v", extension.Networks)
		}
		r.expectProxyOn(t)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("problems: %v", problems)
		}
	})
}

func TestAHostModePortOfTheCoreGoesBeforeItsNetworks(t *testing.T) {
	run(t, onNetworks(), config(), func(r running) {
		r.swarm.change(func(s *snapshot.Lists) {
			Publishes(8080, snapshot.PublishHost)(r.swarm.service("svc-interlock"))
		})
		r.settle()
		if got := r.spec(t, "interlock-ext").Env[core.EnvCore]; got != "10.1.0.5:8080" {
			t.Errorf("before the engine's port shows, the extension is told %q", got)
		}
		r.ownTask(HostPort(8080, 32768))
		extension := r.spec(t, "interlock-ext")
		if got := extension.Env[core.EnvCore]; got != "10.0.0.1:32768" || len(extension.Networks) != 0 {
			t.Errorf("the extension is told %q and attached to %v", got, extension.Networks)
		}
	})
}

func TestEndpointOverrideLeavesTheExtensionOnTheCoresNetwork(t *testing.T) {
	cfg := config()
	cfg.EndpointOverride = "tasks.interlock:8080"
	run(t, onNetworks(), cfg, func(r running) {
		extension := r.spec(t, "interlock-ext")
		if extension.Env[core.EnvCore] != "tasks.interlock:8080" || !slices.Equal(extension.Networks, []string{"net-interlock"}) {
			t.Errorf("the extension is told %q and attached to %v", extension.Env[core.EnvCore], extension.Networks)
		}
	})
}

func TestProxiesPublishThroughTheRoutingMeshWhereAskedTo(t *testing.T) {
	cfg := config()
	cfg.Extensions[0].PublishMode = snapshot.PublishIngress
	run(t, cluster(), cfg, func(r running) {
		for _, p := range r.spec(t, "interlock-proxy").Ports {
			if want := p.Target != core.AgentPort; (p.Mode == snapshot.PublishIngress) != want {
				t.Errorf("port %d is published in mode %s", p.Target, p.Mode)
			}
		}
	})
}

func TestANameInNetworksThatNoNetworkHasIsTold(t *testing.T) {
	run(t, networked(), limited("shopp", "front"), func(r running) {
		r.wait(3 * time.Second)
		r.expectProblem(t, problem.NoNetwork, `service interlock-proxy: Networks of extension default in config.toml names "shopp", but Swarm has no such network that proxies could be attached to; it has: `)
		for _, p := range r.Problems() {
			if p.Kind == problem.NoNetwork && strings.Contains(p.Message, `names "front",`) {
				t.Errorf("a network that exists is told: %v", p)
			}
		}
		r.swarm.change(func(s *snapshot.Lists) {
			s.Networks = append(s.Networks, snapshot.Network{ID: "late", Name: "shopp", Driver: "overlay"})
		})
		r.wait(3 * time.Second)
		if slices.ContainsFunc(r.Problems(), func(p problem.Problem) bool { return p.Kind == problem.NoNetwork }) {
			t.Errorf("problems: %v", r.Problems())
		}
	})
}
