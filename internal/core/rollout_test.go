package core_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/core"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const confPath = "/etc/nginx/nginx.conf"

// stock is a configuration with a proxy image that is not ours.
func stock() *settings.Settings {
	s := config()
	s.Extensions[0].ProxyImage = "nginx:alpine"
	return s
}

// offer hands the core a bundle of the present table.
func (r running) offer(content string) {
	p, _ := r.Tables().Publication("")
	r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle(content)})
}

// offered waits until a bundle has been rolled out, which it plays Swarm for.
func (r running) offered(content string) {
	r.offer(content)
	r.wait(3 * time.Second)
	r.settle()
	r.updateIs(snapshot.UpdateCompleted)
}

// updateIs lets Swarm say how far the proxy service's update is.
func (r running) updateIs(state snapshot.UpdateState) {
	r.swarm.change(func(*snapshot.Lists) { r.swarm.service("svc-interlock-proxy").Update = state })
	r.wait(time.Second)
}

// serves returns what the proxy service has at the path of the configuration.
func (r running) serves(t *testing.T) string {
	t.Helper()
	spec := r.spec(t, "interlock-proxy")
	if len(spec.Configs) != 1 || spec.Configs[0].Target != confPath || spec.Configs[0].Mode != 0o444 {
		t.Fatalf("the proxy service has the configs %+v", spec.Configs)
	}
	r.swarm.mu.Lock()
	defer r.swarm.mu.Unlock()
	return string(r.swarm.contents[spec.Configs[0].ID])
}

func (r running) expectServed(t *testing.T, content string) {
	t.Helper()
	if got := r.serves(t); got != content {
		t.Errorf("the proxies have %q, want %q; problems: %v", got, content, r.Problems())
	}
}

func TestAStockProxyIsCreatedOnceThereIsABundleForIt(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		if len(r.swarm.lists.Services) != 2 {
			t.Fatalf("there are %d services before there is a bundle, want the core and the extension", len(r.swarm.lists.Services))
		}
		if p, _ := r.Tables().Publication(""); !p.Parameters.Agentless {
			t.Error("the extension is not told that there is no agent")
		}
		r.offer("one")
		r.wait(time.Second)
		r.settle()
		r.expectServed(t, "one")
		got := r.spec(t, "interlock-proxy")
		delay, monitor, replicas := 5*time.Second, 10*time.Second, uint64(1)
		want := snapshot.ServiceSpec{
			Name: "interlock-proxy", Image: "nginx:alpine", Replicas: &replicas, Configs: got.Configs,
			Env:   map[string]string{core.EnvConfigPath: confPath, core.EnvAgent: core.NoAgent},
			Ports: []snapshot.Port{{Protocol: "tcp", Target: 80, Published: 80, Mode: snapshot.PublishHost}, {Protocol: "tcp", Target: 443, Published: 443, Mode: snapshot.PublishHost}},

			UpdateDelay: &delay, UpdateMonitor: &monitor, UpdateFailureAction: "rollback", RestartDelay: new(time.Second),
		}
		got.Labels = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("specification (-want +got):\n%s", diff)
		}
		if b := r.deliverer.bundles[""]; b != nil {
			t.Errorf("a bundle is delivered to agents: %+v", b)
		}
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("problems: %v", problems)
		}
	})
}

func TestInTheRoutingMeshTheNewStockProxyStartsFirst(t *testing.T) {
	cfg := stock()
	cfg.Extensions[0].PublishMode = snapshot.PublishIngress
	run(t, cluster(), cfg, func(r running) {
		r.offered("one")
		if got := r.spec(t, "interlock-proxy").UpdateOrder; got != "start-first" {
			t.Errorf("the order of updates is %q", got)
		}
	})
}

func TestABurstOfChangesCausesOneRollingUpdate(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("first")
		for i := range 100 {
			r.offer(fmt.Sprint("burst ", i))
			r.wait(10 * time.Millisecond)
		}
		r.wait(3 * time.Second)
		if r.swarm.updates != 1 {
			t.Errorf("%d updates, want 1", r.swarm.updates)
		}
		r.expectServed(t, "burst 99")
		if n := len(r.swarm.lists.Configs); n != 2 {
			t.Errorf("there are %d configs, want the first and the last", n)
		}
	})
}

func TestChangesThatNeverEndAreRolledOutAllTheSame(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("first")
		for i := range 15 {
			r.offer(fmt.Sprint("change ", i))
			r.wait(time.Second)
		}
		if r.swarm.updates != 1 {
			t.Errorf("%d updates in 15 seconds, want 1", r.swarm.updates)
		}
	})
}

func TestARunningUpdateIsNotInterruptedForTwoMinutes(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("first")
		r.updateIs(snapshot.UpdateUpdating)
		r.offer("second")
		r.wait(110 * time.Second)
		r.expectServed(t, "first")
		r.updateIs(snapshot.UpdateCompleted)
		r.expectServed(t, "second")

		r.settle()
		r.updateIs(snapshot.UpdateUpdating)
		r.offer("third")
		r.wait(125 * time.Second)
		r.expectServed(t, "third")
	})
}

func TestAtMostThreeConfigsAreKeptAndNoneThatIsNeeded(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		for i := range 6 {
			r.offered(fmt.Sprint("bundle ", i))
			r.expectServed(t, fmt.Sprint("bundle ", i))
			if n := len(r.swarm.lists.Configs); n != min(i+1, 3) {
				t.Errorf("after %d bundles there are %d configs", i+1, n)
			}
		}
		previous := r.swarm.service("svc-interlock-proxy").PreviousConfigs
		if len(previous) != 1 || string(r.swarm.contents[previous[0]]) != "bundle 4" {
			t.Errorf("a rollback would miss its config %v", previous)
		}
		r.offered("bundle 5")
		if r.swarm.updates != 5 {
			t.Errorf("%d updates for 5 changes", r.swarm.updates)
		}
	})
}

// rollBack plays what Swarm does when a proxy dies of its new configuration.
func (r running) rollBack(before snapshot.ServiceSpec) {
	r.swarm.change(func(s *snapshot.Lists) {
		r.swarm.service("svc-interlock-proxy").Update = snapshot.UpdateRollbackStarted
		s.Tasks = append(s.Tasks, snapshot.Task{
			ID: "task-dead", ServiceID: "svc-interlock-proxy", Slot: 1, NodeID: "node-2",
			State: snapshot.TaskFailed, Desired: snapshot.TaskShutdown, Err: "task: non-zero exit (1)",
		})
	})
	r.wait(time.Second)
	r.swarm.change(func(s *snapshot.Lists) {
		s.Tasks = slices.DeleteFunc(s.Tasks, func(t snapshot.Task) bool { return t.ID == "task-dead" })
		service := r.swarm.service("svc-interlock-proxy")
		service.Spec, service.Update = before, snapshot.UpdateRollbackCompleted
		service.Version++
	})
	r.settle()
}

func TestABundleThatProxiesDieOfIsAProblemAndNotTriedAgain(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("good")
		before := r.spec(t, "interlock-proxy")
		r.offer("bad")
		r.wait(3 * time.Second)
		r.expectServed(t, "bad")
		r.rollBack(before)
		r.wait(5 * time.Minute)
		r.settle()
		r.expectServed(t, "good")
		r.expectProblem(t, problem.RolledBack, "Docker says of the task that failed: task: non-zero exit (1); docker service logs interlock-proxy has")
		if r.swarm.updates != 1 {
			t.Errorf("%d updates, want the one that was rolled back", r.swarm.updates)
		}

		r.offer("better")
		r.wait(3 * time.Second)
		r.settle()
		r.expectServed(t, "better")
		r.updateIs(snapshot.UpdateCompleted)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestAfterARollbackAttemptsAreAMinuteApart(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("good")
		before := r.spec(t, "interlock-proxy")
		r.offer("bad")
		r.wait(3 * time.Second)
		r.rollBack(before)
		r.offer("bad too")
		r.wait(30 * time.Second)
		r.expectServed(t, "good")
		r.expectProblem(t, problem.RolledBack, "was rolled back, so the one before goes on")
		r.wait(time.Minute)
		r.expectServed(t, "bad too")
	})
}

func TestTheBundleFromBeforeARollbackEndsTheProblem(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("good")
		before := r.spec(t, "interlock-proxy")
		r.offer("bad")
		r.wait(3 * time.Second)
		r.rollBack(before)
		r.offer("good")
		r.wait(2 * time.Minute)
		if problems := r.Problems(); len(problems) != 0 || r.swarm.updates != 1 {
			t.Errorf("after %d updates there are still problems: %v", r.swarm.updates, problems)
		}
	})
}

func TestABundleThatNoConfigCanHoldIsAProblemAndLosesNothing(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("small")
		p, _ := r.Tables().Publication("")
		large := render.Bundle{Token: "large", Files: []render.File{{Path: confPath, Content: render.NewContent(bytes.Repeat([]byte("x"), 1000<<10))}}}
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: large})
		r.wait(10 * time.Second)
		r.expectServed(t, "small")
		r.expectProblem(t, problem.BundleTooLarge, "/etc/nginx/nginx.conf has 1024000 bytes, and Swarm takes at most 1023999")
		r.offered("small again")
		r.expectServed(t, "small again")
		r.wait(3 * time.Second)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestAConfigThatIsNotOursIsNotGivenToProxies(t *testing.T) {
	var name string
	var labels map[string]string
	run(t, cluster(), stock(), func(r running) {
		r.offered("one")
		name, labels = r.swarm.lists.Configs[0].Name, r.swarm.lists.Configs[0].Labels
	})
	for whose, made := range map[string]snapshot.Object{
		"one with our labels": {ID: "evil", Name: name, Labels: labels},
		"one with our name":   {ID: "evil", Name: name},
	} {
		t.Run(whose, func(t *testing.T) {
			run(t, cluster(), stock(), func(r running) {
				r.swarm.change(func(s *snapshot.Lists) { s.Configs = append(s.Configs, made) })
				r.swarm.contents["evil"] = []byte("evil")
				r.offer("one")
				r.wait(10 * time.Second)
				r.settle()
				if len(r.swarm.lists.Services) != 2 {
					t.Error("the proxy service is created")
				}
				r.expectProblem(t, problem.SwarmRefused, "docker config rm "+name)
			})
		})
	}
}

func TestACoreThatStartsAnewUpdatesNothing(t *testing.T) {
	runLives(t, cluster(), life{stock(), func(r running) { r.offered("one") }}, life{stock(), func(r running) {
		r.offered("one")
		if r.swarm.updates != 0 || len(r.swarm.lists.Configs) != 1 {
			t.Errorf("%d updates and %d configs, want 0 and 1", r.swarm.updates, len(r.swarm.lists.Configs))
		}
	}})
}

func TestTheWayOfDeliveryCanBeChangedBackAndForth(t *testing.T) {
	off := false
	without := config()
	without.Extensions[0].HitlessServiceUpdate = &off
	var before snapshot.ServiceSpec
	runLives(t, cluster(), life{config(), func(r running) {
		before = r.spec(t, "interlock-proxy")
	}}, life{without, func(r running) {
		if spec := r.spec(t, "interlock-proxy"); len(spec.Secrets) != 1 {
			t.Error("the service is changed before there is a bundle for it")
		}
		r.offered("one")
		r.expectServed(t, "one")
		if spec := r.spec(t, "interlock-proxy"); len(spec.Secrets) != 0 || len(spec.Mounts) != 0 || len(spec.Ports) != 2 || len(spec.CapabilityAdd) != 0 || len(spec.Sysctls) != 0 {
			t.Errorf("something of the agent's is left: %+v", spec)
		}
	}}, life{config(), func(r running) {
		r.updateIs(snapshot.UpdateCompleted)
		if diff := cmp.Diff(before, r.spec(t, "interlock-proxy")); diff != "" {
			t.Errorf("the service is not as it was before (-before +after):\n%s", diff)
		}
		r.offer("two")
		r.wait(time.Second)
		if b := r.deliverer.bundles[""]; b == nil || b.Token != "two" {
			t.Errorf("delivered: %+v", b)
		}
		if n := len(r.swarm.lists.Configs); n > 1 {
			t.Errorf("%d configs are left, want the one that a rollback needs at most", n)
		}
	}})
}

func TestTheOperatorsUpdateSettingsSurviveNewBundles(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("one")
		r.swarm.change(func(*snapshot.Lists) {
			minute, service := time.Minute, r.swarm.service("svc-interlock-proxy")
			service.Spec.UpdateDelay, service.Spec.UpdateMonitor, service.Spec.UpdateFailureAction = &minute, &minute, "continue"
			service.Version++
		})
		r.offered("two")
		r.expectServed(t, "two")
		if spec := r.spec(t, "interlock-proxy"); *spec.UpdateDelay != time.Minute || *spec.UpdateMonitor != time.Minute || spec.UpdateFailureAction != "continue" {
			t.Errorf("delay %s, monitor %s, on failure %s", *spec.UpdateDelay, *spec.UpdateMonitor, spec.UpdateFailureAction)
		}
	})
}

// pile adds configs of earlier bundles.
func (r running) pile(count int) {
	k := plan.Keeper{Owner: "svc-interlock", Seal: issuer{}.Seal}
	r.swarm.change(func(s *snapshot.Lists) {
		for i := range count {
			name := fmt.Sprint("old-", i)
			s.Configs = append(s.Configs, snapshot.Object{ID: name, Name: name, Labels: k.ConfigLabels(name, "default", confPath)})
		}
	})
	r.settle()
}

func TestNoConfigIsRemovedDuringAnUpdate(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("one")
		r.updateIs(snapshot.UpdateUpdating)
		r.pile(5)
		if n := len(r.swarm.lists.Configs); n != 6 {
			t.Errorf("%d of 6 configs are left", n)
		}
		r.updateIs(snapshot.UpdateCompleted)
		if n := len(r.swarm.lists.Configs); n != 3 {
			t.Errorf("%d configs are left, want 3", n)
		}
	})
}

func TestAServiceAndItsConfigThatWereRemovedAreMadeAnew(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		r.offered("one")
		r.wait(time.Minute) // past the time in which what was created may not show yet
		r.swarm.change(func(s *snapshot.Lists) {
			s.Configs = nil
			s.Services = slices.DeleteFunc(s.Services, func(v snapshot.Service) bool { return v.Spec.Name == "interlock-proxy" })
		})
		r.settle()
		r.expectServed(t, "one")
		if n := len(r.swarm.lists.Configs); n != 1 {
			t.Errorf("there are %d configs, want the one that the service has", n)
		}
	})
}

func TestASecondCoreRollsNothingOut(t *testing.T) {
	second := NewSwarm(3).Service("interlock", nil).
		Task("interlock", 0, 2, HostPort(8080, 32768)).Task("interlock", 1, 1, HostPort(8080, 32768)).
		Service("interlock-proxy", map[string]string{plan.LabelExtension: "default", plan.LabelRole: "proxy", plan.LabelSeal: "interlock-proxy/default/proxy"})
	run(t, second, stock(), func(r running) {
		r.pile(5)
		r.offer("one")
		r.wait(10 * time.Second)
		if r.swarm.writes != 0 {
			t.Errorf("it changed Swarm %d times", r.swarm.writes)
		}
	})
}

func TestStockProxiesGetTheSecretsThatTheirConfigurationNames(t *testing.T) {
	run(t, cluster(), stock(), func(r running) {
		for _, name := range []string{"shop.1", "shop.2"} {
			r.secret(name, nil)
		}
		r.proves("shop", "shop.1", "shop.1")
		r.settle()
		if p, _ := r.Tables().Publication(""); !p.Parameters.MountedCredentials {
			t.Error("the extension is not told that the proxies have the secrets")
		}
		r.offered("with shop.1")
		want := []snapshot.FileRef{{ID: "id-shop.1", Name: "shop.1", Target: "shop.1", Mode: 0o444}}
		if diff := cmp.Diff(want, r.spec(t, "interlock-proxy").Secrets); diff != "" {
			t.Errorf("secrets (-want +got):\n%s", diff)
		}
		r.proves("shop", "shop.2", "shop.2")
		r.wait(time.Second)
		r.answer(render.Result{Bundle: bundle("incomplete"), Missing: []string{"shop.2"}})
		r.wait(10 * time.Second)
		r.expectServed(t, "with shop.1")
		r.offer("with shop.2")
		r.wait(3 * time.Second)
		r.expectServed(t, "with shop.2")
		want = []snapshot.FileRef{{ID: "id-shop.2", Name: "shop.2", Target: "shop.2", Mode: 0o444}}
		if diff := cmp.Diff(want, r.spec(t, "interlock-proxy").Secrets); diff != "" {
			t.Errorf("secrets after the renewal (-want +got):\n%s", diff)
		}
	})
}

func TestASecretThatNeverComesDoesNotHoldUpStockProxiesForEver(t *testing.T) {
	run(t, demo(32800), stock(), func(r running) {
		r.answer(render.Result{Bundle: bundle("incomplete"), Missing: []string{"lost"}})
		r.wait(31 * time.Second)
		r.settle()
		r.expectServed(t, "incomplete")
	})
}

func TestNoKeyBecomesADockerConfig(t *testing.T) {
	run(t, demo(32800), stock(), func(r running) {
		keyed := bundle("keyed")
		keyed.Files = append(keyed.Files, render.File{Path: render.SensitiveDir + "/key", Mode: 0o600, Content: render.NewContent([]byte("key")), Sensitive: true})
		r.answer(render.Result{Bundle: keyed})
		r.wait(10 * time.Second)
		if len(r.swarm.lists.Configs) > 0 {
			t.Errorf("there are the configs %+v", r.swarm.lists.Configs)
		}
		r.expectProblem(t, problem.SwarmRefused, "put a key into /run/interlock/tls/key")
	})
}
