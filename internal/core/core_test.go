package core_test

import (
	"context"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/delivery"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

func TestTheConfiguredServicesAreCreatedOnce(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		proxy, extension := r.spec(t, "interlock-proxy"), r.spec(t, "interlock-ext")
		wantPorts := []snapshot.Port{
			{Protocol: "tcp", Target: 80, Published: 80, Mode: snapshot.PublishHost},
			{Protocol: "tcp", Target: 443, Published: 443, Mode: snapshot.PublishHost},
			{Protocol: "tcp", Target: core.AgentPort, Mode: snapshot.PublishHost},
		}
		if diff := cmp.Diff(wantPorts, proxy.Ports); diff != "" {
			t.Errorf("the proxy's ports (-want +got):\n%s", diff)
		}
		if got := extension.Env[core.EnvCore]; got != "10.0.0.1:32768" {
			t.Errorf("the extension is told that the core is at %q, want 10.0.0.1:32768", got)
		}
		if len(proxy.Secrets) != 1 || len(extension.Secrets) != 1 || proxy.Secrets[0].ID == extension.Secrets[0].ID {
			t.Errorf("want an identity of its own for each; got %v and %v", proxy.Secrets, extension.Secrets)
		}
		if r.swarm.updates != 0 || len(r.swarm.lists.Services) != 3 {
			t.Errorf("%d services and %d updates, want 3 and 0", len(r.swarm.lists.Services), r.swarm.updates)
		}
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("problems: %v", problems)
		}
	})
}

func TestACoreThatMovesTellsTheExtensionWhereAndLeavesTheProxyAlone(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		before := r.spec(t, "interlock-proxy")
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Tasks, func(t snapshot.Task) bool { return t.ServiceID == "svc-interlock" })
			s.Tasks[i].NodeID = "node-2"
			s.Tasks[i].Ports = []snapshot.Port{{Protocol: "tcp", Target: 8080, Published: 32999, Mode: snapshot.PublishHost}}
		})
		r.settle()
		if got := r.spec(t, "interlock-ext").Env[core.EnvCore]; got != "10.0.0.2:32999" {
			t.Errorf("the extension is told %q, want 10.0.0.2:32999", got)
		}
		if diff := cmp.Diff(before, r.spec(t, "interlock-proxy")); diff != "" {
			t.Errorf("the proxy service changed:\n%s", diff)
		}
	})
}

// ownTask changes the core's task and lets the core see it.
func (r running) ownTask(f func(*snapshot.Task)) {
	r.swarm.change(func(s *snapshot.Lists) {
		i := slices.IndexFunc(s.Tasks, func(t snapshot.Task) bool { return t.ServiceID == "svc-interlock" })
		f(&s.Tasks[i])
	})
	r.settle()
}

func TestAPortThatSwarmDoesNotShowYetIsWaitedForWithoutAWord(t *testing.T) {
	starting := NewSwarm(1).Service("interlock", nil, Publishes(8080, snapshot.PublishHost)).Task("interlock", 1, 1)
	run(t, starting, config(), func(r running) {
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("problems: %v", problems)
		}
		r.ownTask(HostPort(8080, 32768))
		if got := r.spec(t, "interlock-ext").Env[core.EnvCore]; got != "10.0.0.1:32768" {
			t.Errorf("the extension is told %q", got)
		}
		r.ownTask(func(t *snapshot.Task) { t.Ports = nil })
		if got := r.spec(t, "interlock-ext").Env[core.EnvCore]; got != "10.0.0.1:32768" {
			t.Errorf("a port that no longer shows made the extension restart with %q", got)
		}
	})
}

func TestACoreThatIsToldToStopLeavesServicesToItsSuccessor(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.ownTask(States(snapshot.TaskRunning, snapshot.TaskShutdown))
		writes := r.swarm.writes
		r.ownTask(func(t *snapshot.Task) { t.Ports[0].Published = 1 })
		if r.swarm.writes != writes {
			t.Error("it still changed Swarm")
		}
	})
}

func TestOfSeveralCoresOnlyTheFirstChangesServices(t *testing.T) {
	second := NewSwarm(3).Service("interlock", nil).
		Task("interlock", 0, 2, HostPort(8080, 32768)).Task("interlock", 1, 1, HostPort(8080, 32768))
	run(t, second, config(), func(r running) {
		if r.swarm.writes != 0 {
			t.Errorf("the second core changed Swarm %d times", r.swarm.writes)
		}
		if p, _ := r.Tables().Publication(""); p.Table == nil {
			t.Error("the second core publishes no table")
		}
	})
}

func TestEndpointOverrideWins(t *testing.T) {
	cfg := config()
	cfg.EndpointOverride = "core.example.com:9000"
	run(t, NewSwarm(1).Service("other", nil), cfg, func(r running) {
		r.wait(10 * time.Second) // in which the core's own task might still show
		r.settle()
		if got := r.spec(t, "interlock-ext").Env[core.EnvCore]; got != "core.example.com:9000" {
			t.Errorf("the extension is told %q", got)
		}
	})
}

func TestACoreInAContainerThatSwarmDoesNotKnowGoesOnAfterAWhile(t *testing.T) {
	cfg := config()
	cfg.EndpointOverride = "core.example.com:9000"
	synctest.Test(t, func(t *testing.T) {
		s := newSwarm(NewSwarm(1).Service("other", nil))
		c := core.New(core.Options{
			Settings: cfg, Source: s, Applier: s, Deliverer: newDeliverer(), Issuer: issuer{},
			Container: "container-run-by-hand", Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		s.show()
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.writes == 0 {
			t.Error("without another reading it never began to work")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestACoreThatNobodyCanReachSaysWhatToDo(t *testing.T) {
	unpublished := NewSwarm(1).Service("interlock", nil).Task("interlock", 1, 1)
	run(t, unpublished, config(), func(r running) {
		r.expectProblem(t, problem.NoCoreEndpoint, "docker service update --publish-add mode=host,target=8080 interlock")
	})
}

func demo(published uint16) *Swarm {
	return cluster().
		Service("demo", map[string]string{"com.docker.lb.hosts": "demo.local", "com.docker.lb.port": "8080"}).
		Task("demo", 1, 2, HostPort(8080, published)).
		Service("interlock-proxy", map[string]string{plan.LabelExtension: "default", plan.LabelRole: "proxy", plan.LabelSeal: "interlock-proxy/default/proxy"}).
		Task("interlock-proxy", 1, 3, HostPort(80, 80), HostPort(core.AgentPort, 32770))
}

func bundle(content string) render.Bundle {
	return render.Bundle{Token: content, Files: []render.File{{Path: "/etc/nginx/nginx.conf", Content: render.NewContent([]byte(content))}}}
}

func TestWhatAnExtensionRendersGoesToTheProxiesThatSwarmShows(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		p, _ := r.Tables().Publication("")
		if p.Table == nil || len(p.Table.Hosts) != 1 {
			t.Fatalf("publication: %+v", p)
		}
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle("one")})
		r.wait(3 * time.Second)
		want := []delivery.Proxy{{Task: "task-interlock-proxy-1", Node: "node-3", Addr: netip.MustParseAddrPort("10.0.0.3:32770")}}
		if diff := cmp.Diff(want, r.deliverer.proxies[""], cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("proxies (-want +got):\n%s", diff)
		}
		if b := r.deliverer.bundles[""]; b == nil || b.Token != "one" || b.TableVersion != p.Version {
			t.Errorf("bundle: %+v", b)
		}
	})
}

func TestAChangeReachesTheProxiesWithoutAnyPause(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		began := time.Now()
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Tasks, func(t snapshot.Task) bool { return t.ServiceID == "svc-demo" })
			s.Tasks[i].Desired = snapshot.TaskShutdown
		})
		synctest.Wait()
		p, _ := r.Tables().Publication("")
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle("drained")})
		synctest.Wait()
		if b := r.deliverer.bundles[""]; b == nil || b.Token != "drained" {
			t.Errorf("after %s the deliverer has %+v", time.Since(began), b)
		}
	})
}

func TestATableIsPublishedAnewOnlyWhenItChanges(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		first, outdated := r.Tables().Publication("")
		r.settle()
		if again, _ := r.Tables().Publication(""); again.Generation != first.Generation {
			t.Errorf("the same Swarm was published as generation %d and %d", first.Generation, again.Generation)
		}
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Tasks, func(t snapshot.Task) bool { return t.ServiceID == "svc-demo" })
			s.Tasks[i].Ports = []snapshot.Port{{Protocol: "tcp", Target: 8080, Published: 32900, Mode: snapshot.PublishHost}}
		})
		r.settle()
		select {
		case <-outdated:
		default:
			t.Error("a moved endpoint does not make the publication outdated")
		}
	})
}

func TestABundleOfAnOldTableDoesNotReplaceANewerOne(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		old, _ := r.Tables().Publication("")
		r.swarm.change(func(s *snapshot.Lists) {
			s.Services = slices.DeleteFunc(s.Services, func(s snapshot.Service) bool { return s.ID == "svc-demo" })
		})
		r.settle()
		newer, _ := r.Tables().Publication("")
		r.Tables().PutBundle("", newer.Generation, newer.Version, render.Result{Bundle: bundle("newer")})
		r.Tables().PutBundle("", old.Generation, old.Version, render.Result{Bundle: bundle("old")})
		r.wait(3 * time.Second)
		if b := r.deliverer.bundles[""]; b == nil || b.Token != "newer" {
			t.Errorf("delivered: %+v", b)
		}
	})
}

func TestAnEmptyReadingIsBelievedOnlyWhenItLastsAndAnotherSaysTheSameAndItCanBe(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		before, _ := r.Tables().Publication("")
		unchanged := func(when string) {
			t.Helper()
			if now, _ := r.Tables().Publication(""); now.Generation != before.Generation {
				t.Fatalf("routes were taken away %s", when)
			}
		}
		r.swarm.mu.Lock()
		whole := r.swarm.lists
		r.swarm.mu.Unlock()
		r.swarm.readings <- &snapshot.Snapshot{}
		r.wait(3 * time.Second)
		unchanged("on one empty reading")

		r.wait(time.Minute)
		unchanged("though another reading shows everything")

		r.swarm.mu.Lock()
		r.swarm.unreadable = fs.ErrPermission
		r.swarm.mu.Unlock()
		r.wait(time.Minute)
		unchanged("while no reading confirms it")

		lists := func(l snapshot.Lists) {
			r.swarm.mu.Lock()
			r.swarm.lists, r.swarm.unreadable = l, nil
			r.swarm.mu.Unlock()
			r.wait(time.Minute)
		}
		lists(snapshot.Lists{})
		unchanged("though a Swarm without a node cannot be")
		lists(snapshot.Lists{Nodes: whole.Nodes})
		unchanged("though the core's own task must be somewhere")

		others := whole
		others.Tasks = slices.DeleteFunc(slices.Clone(whole.Tasks), func(t snapshot.Task) bool { return t.ContainerID == "container-interlock-1" })
		r.swarm.change(func(s *snapshot.Lists) { *s = others })
		r.wait(time.Second)
		r.swarm.readings <- &snapshot.Snapshot{Nodes: whole.Nodes}
		lists(snapshot.Lists{Nodes: whole.Nodes})
		if now, _ := r.Tables().Publication(""); len(now.Table.Hosts) != 0 {
			t.Error("routes are still there after a minute of confirmed emptiness")
		}
		r.swarm.change(func(s *snapshot.Lists) { *s = whole })
		r.wait(time.Second)
		if now, _ := r.Tables().Publication(""); now.Version != before.Version {
			t.Error("the routes did not come back")
		}
	})
}

func TestAReadingThatIsNotBelievedIsAProblem(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		told := func() bool {
			return slices.ContainsFunc(r.Problems(), func(p problem.Problem) bool { return p.Kind == problem.Doubted })
		}
		r.swarm.readings <- &snapshot.Snapshot{}
		r.wait(3 * time.Second)
		if told() {
			t.Error("it is told before another reading was asked for")
		}
		r.wait(5 * time.Second)
		r.expectProblem(t, problem.Doubted, "restart the engine whose lists are empty")
		r.swarm.show()
		r.wait(time.Second)
		if told() {
			t.Error("it is still told, though Swarm is read as it is")
		}
	})
}

func TestAFirstReadingOfNothingIsDoubtedToo(t *testing.T) {
	run(t, NewSwarm(0), config(), func(r running) {
		if p, _ := r.Tables().Publication(""); p.Table != nil {
			t.Error("an empty table was published at once")
		}
	})
}

func TestWhatSwarmRefusesIsSaidAndTriedAgain(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		p, _ := r.Tables().Publication("")
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle("one")})
		r.swarm.mu.Lock()
		r.swarm.refuse = fs.ErrPermission
		r.swarm.lists.Services = slices.DeleteFunc(r.swarm.lists.Services, func(s snapshot.Service) bool { return s.Spec.Name == "interlock-proxy" })
		r.swarm.mu.Unlock()
		r.wait(time.Minute) // past the time in which a created service may not show yet
		r.settle()
		r.expectProblem(t, problem.SwarmRefused, "permission denied")

		r.swarm.mu.Lock()
		r.swarm.refuse = nil
		r.swarm.mu.Unlock()
		r.wait(10 * time.Second)
		r.settle()
		r.spec(t, "interlock-proxy")
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestAnUpdateThatSwarmRolledBackIsNotTriedAgain(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		before := r.spec(t, "interlock-ext")
		r.ownTask(func(t *snapshot.Task) {
			t.Ports = []snapshot.Port{{Protocol: "tcp", Target: 8080, Published: 40000, Mode: snapshot.PublishHost}}
		})
		if r.swarm.updates != 1 {
			t.Fatalf("%d updates for a moved core, want 1", r.swarm.updates)
		}
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Services, func(v snapshot.Service) bool { return v.Spec.Name == "interlock-ext" })
			s.Services[i].Spec, s.Services[i].Update = before, snapshot.UpdateRollbackCompleted
			s.Services[i].Version++
		})
		r.settle()
		if r.swarm.updates != 1 {
			t.Errorf("the update was made %d times", r.swarm.updates)
		}
		r.expectProblem(t, problem.RolledBack, "was rolled back and is not tried again")
	})
}

func TestAnExtensionThatNeverAnswersIsAProblem(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		r.wait(20 * time.Second)
		r.expectProblem(t, problem.Unreachable, `reaches the core at "10.0.0.1:32768"`)
		p, _ := r.Tables().Publication("")
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle("one")})
		r.wait(time.Second)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestABundleOfAnotherCoresTableIsNotTaken(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		p, _ := r.Tables().Publication("")
		r.Tables().PutBundle("", p.Generation, "another table", render.Result{Bundle: bundle("foreign")})
		r.wait(time.Second)
		if b := r.deliverer.bundles[""]; b != nil {
			t.Errorf("delivered: %+v", b)
		}
	})
}

func TestASecretOfSomebodyElseWithAnIdentitysNameIsEvaded(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.swarm.mu.Lock()
		for i := range r.swarm.lists.Secrets {
			r.swarm.lists.Secrets[i].Labels = nil // as a tenant would have made it
		}
		r.swarm.lists.Services = slices.DeleteFunc(r.swarm.lists.Services, func(s snapshot.Service) bool { return s.ID != "svc-interlock" })
		r.swarm.mu.Unlock()
		r.wait(time.Minute) // past the time in which a created service may not show yet
		r.settle()
		for _, name := range []string{"interlock-ext", "interlock-proxy"} {
			spec := r.spec(t, name)
			i := slices.IndexFunc(r.swarm.lists.Secrets, func(o snapshot.Object) bool { return o.ID == spec.Secrets[0].ID })
			if r.swarm.lists.Secrets[i].Labels == nil {
				t.Errorf("%s is given a secret that is not ours", name)
			}
		}
	})
}

func TestAReadingFromBeforeACreationDoesNotCreateTwice(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		stale := snapshot.Lists{Nodes: r.swarm.lists.Nodes, Tasks: r.swarm.lists.Tasks, Secrets: r.swarm.lists.Secrets}
		stale.Services = slices.DeleteFunc(slices.Clone(r.swarm.lists.Services), func(s snapshot.Service) bool { return s.ID != "svc-interlock" })
		r.swarm.readings <- stale.Snapshot(nil)
		r.wait(3 * time.Second)
		if n := len(r.swarm.lists.Services); n != 3 {
			t.Errorf("there are %d services, want 3", n)
		}
	})
}

func TestWhatProxiesRefuseIsAProblemUntilTheyTakeIt(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		p, _ := r.Tables().Publication("")
		refused := bundle("refused")
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: refused})
		proxy := delivery.Proxy{Task: "t", Node: "lb-00", Addr: netip.MustParseAddrPort("10.0.0.3:32770")}
		r.deliverer.report(delivery.Status{Proxy: proxy, Connected: true, RefusedVersion: refused.Version(), Refusal: `unknown directive "x"`})
		r.wait(3 * time.Second)
		r.expectProblem(t, problem.BundleRefused, `the proxy on node lb-00 refused the newest configuration and goes on with the one before; it says: unknown directive "x"`)
		r.deliverer.report(delivery.Status{Proxy: proxy, LastError: "connection refused"})
		r.wait(3 * time.Second)
		r.expectProblem(t, problem.Unreachable, "at 10.0.0.3:32770 cannot be brought the newest routes")
		r.deliverer.report(delivery.Status{Proxy: proxy, Connected: true})
		r.wait(3 * time.Second)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestWhatPassesAtOnceIsNoProblem(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		r.deliverer.report(delivery.Status{LastError: "connection refused"})
		r.wait(time.Second)
		r.deliverer.report(delivery.Status{Connected: true})
		r.wait(time.Second)
		r.deliverer.report(delivery.Status{LastError: "connection refused"})
		r.wait(time.Second)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("problems: %v", problems)
		}
		r.wait(2 * time.Second)
		r.expectProblem(t, problem.Unreachable, "connection refused")
	})
}

func TestAFailedRenderingKeepsTheLastBundle(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		p, _ := r.Tables().Publication("")
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle("good")})
		r.Tables().PutFailure("", p.Generation, p.Version, "option PidPath: no such thing")
		r.wait(3 * time.Second)
		r.expectProblem(t, problem.RenderFailed, "option PidPath: no such thing")
		if b := r.deliverer.bundles[""]; b == nil || b.Token != "good" {
			t.Errorf("delivered: %+v", b)
		}
	})
}
