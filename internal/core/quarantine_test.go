package core_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/delivery"
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// proxied plays the extension and the proxies of a cluster until it is stopped:
// a bundle is the list of its table's hosts, and check and load judge it.
type proxied struct {
	running
	cluster     string
	names       []string // of the proxies' nodes
	check, load func(hosts string) string
	// served has all that any proxy has served, and tried what it was asked about.
	served, tried []string
	stop          func()
}

func play(t *testing.T, r running, cluster string, check func(string) string, change ...func(*proxied)) *proxied {
	t.Helper()
	p := &proxied{running: r, cluster: cluster, names: []string{"lb-00"}, check: check, load: check}
	for _, f := range change {
		f(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var playing sync.WaitGroup
	playing.Go(func() { p.extension(ctx) })
	playing.Go(func() { p.proxies(ctx) })
	p.stop = func() { cancel(); playing.Wait() }
	return p
}

func (p *proxied) extension(ctx context.Context) {
	var sent uint64
	for ctx.Err() == nil {
		publication, outdated := p.Tables().Publication(p.cluster)
		if publication.Table != nil && publication.Generation != sent {
			sent = publication.Generation
			p.Tables().PutBundle(p.cluster, publication.Generation, publication.Version, render.Result{Bundle: hostsOf(publication.Table)})
		}
		select {
		case <-outdated:
		case <-ctx.Done():
		}
	}
}

func hostsOf(table *route.Table) render.Bundle {
	var names []string
	for _, h := range table.Hosts {
		names = append(names, h.Name)
	}
	return bundle(strings.Join(names, " "))
}

// proxies answers what the core delivers and asks every 10 ms.
func (p *proxied) proxies(ctx context.Context) {
	statuses := make(map[string]delivery.Status)
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		p.deliverer.mu.Lock()
		wanted, question := p.deliverer.bundles[p.cluster], p.deliverer.tried[p.cluster]
		p.deliverer.mu.Unlock()
		var list []delivery.Status
		for _, name := range p.names {
			before := statuses[name]
			s := before
			s.Cluster, s.Connected, s.Proxy = p.cluster, true, delivery.Proxy{Task: "task-" + name, Node: name, Addr: netip.MustParseAddrPort("10.0.0.3:32770")}
			p.apply(&s, wanted)
			p.answer(&s, question)
			statuses[name] = s
			list = append(list, s)
		}
		p.deliverer.mu.Lock()
		same := slices.Equal(p.deliverer.statuses, list)
		p.deliverer.mu.Unlock()
		if !same {
			p.deliverer.report(list...)
		}
	}
}

func (p *proxied) apply(s *delivery.Status, wanted *delivery.Bundle) {
	if wanted == nil || wanted.Version() == s.BundleVersion || wanted.Version() == s.RefusedVersion {
		return
	}
	if refusal := p.load(wanted.Token); refusal != "" {
		s.RefusedVersion, s.Refusal = wanted.Version(), refusal
		return
	}
	s.BundleVersion, s.TableVersion, s.RefusedVersion, s.Refusal = wanted.Version(), wanted.TableVersion, "", ""
	p.served = append(p.served, wanted.Token)
}

func (p *proxied) answer(s *delivery.Status, q question) {
	if q.bundle == nil || q.task != s.Task || q.bundle.Version() == s.Tried.Version {
		return
	}
	p.tried = append(p.tried, q.bundle.Token)
	s.Tried = delivery.Answer{Version: q.bundle.Version(), Refusal: p.check(q.bundle.Token)}
}

func refuseBad(hosts string) string {
	if strings.Contains(hosts, "bad") {
		return `nginx: [emerg] "bad" is bad`
	}
	return ""
}

func hosts(n int) *Swarm {
	s := cluster()
	for i := range n {
		name := fmt.Sprintf("app%02d", i)
		s.Service(name, routed(name+".example.com")).Task(name, 1, 1, HostPort(80, uint16(32800+i)))
	}
	return s
}

func routed(host string) map[string]string {
	return map[string]string{"com.docker.lb.hosts": host, "com.docker.lb.port": "80"}
}

// host changes the host of a service.
func (r running) host(service, host string) {
	r.swarm.change(func(s *snapshot.Lists) {
		for i := range s.Services {
			if s.Services[i].Spec.Name == service {
				s.Services[i].Spec.Labels = routed(host)
			}
		}
	})
}

func (p *proxied) expectServing(t *testing.T, hosts ...string) {
	t.Helper()
	slices.Sort(hosts)
	if len(p.served) == 0 || p.served[len(p.served)-1] != strings.Join(hosts, " ") {
		t.Errorf("the proxies serve %q, want %q; problems: %v", p.served, hosts, p.Problems())
	}
}

func TestAServiceThatProxiesRefuseIsQuarantinedAndAllOthersGoOn(t *testing.T) {
	run(t, hosts(4), config(), func(r running) {
		p := play(t, r, "", refuseBad)
		defer p.stop()
		r.wait(time.Second)
		p.expectServing(t, "app00.example.com", "app01.example.com", "app02.example.com", "app03.example.com")
		r.host("app02", "bad.example.com")
		r.host("app03", "new.example.com")
		r.wait(10 * time.Second)
		p.expectServing(t, "app00.example.com", "app01.example.com", "app02.example.com", "new.example.com")
		r.expectProblem(t, problem.Quarantined, `service app02: the proxies refuse the configuration that its labels lead to, so it is served with the labels, ports and networks that it had before and all others are served`)
		r.expectProblem(t, problem.Quarantined, `the proxy says: nginx: [emerg] "bad" is bad`)
		for _, served := range p.served {
			if strings.Count(served, " ") != 3 {
				t.Errorf("a table that leaves somebody out was served: %q", served)
			}
		}
		r.host("app02", "better.example.com")
		r.wait(10 * time.Second)
		p.expectServing(t, "app00.example.com", "app01.example.com", "better.example.com", "new.example.com")
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestACoreThatHasJustStartedFindsTheBadServiceWithoutServingLess(t *testing.T) {
	s := hosts(6)
	s.Service("worse", routed("bad.example.com")).Task("worse", 1, 1, HostPort(80, 32900))
	run(t, s, config(), func(r running) {
		p := play(t, r, "", refuseBad)
		defer p.stop()
		r.wait(20 * time.Second)
		p.expectServing(t, "app00.example.com", "app01.example.com", "app02.example.com", "app03.example.com", "app04.example.com", "app05.example.com")
		r.expectProblem(t, problem.Quarantined, "service worse: the proxies refuse the configuration that its labels lead to, so it is left out")
		if len(p.served) != 1 {
			t.Errorf("the proxies served %q, one after the other", p.served)
		}
	})
}

func TestAFaultOfTheOptionsQuarantinesNobody(t *testing.T) {
	run(t, hosts(3), config(), func(r running) {
		p := play(t, r, "", func(string) string { return "unknown directive" })
		defer p.stop()
		r.wait(20 * time.Second)
		r.expectProblem(t, problem.OptionsRefused, "refuse a configuration without any service too, so the fault is in config.toml (Extensions.default) or in the proxies, which go on with what they had; they say: unknown directive")
		if !slices.Contains(p.tried, "") {
			t.Errorf("an empty table was not tried: %q", p.tried)
		}
		for _, found := range r.Problems() {
			if found.Kind == problem.Quarantined {
				t.Errorf("somebody is in quarantine: %v", found)
			}
		}
	})
}

func TestWhatOneProxyServesIsNoServicesFault(t *testing.T) {
	run(t, hosts(3), config(), func(r running) {
		asked := 0
		p := play(t, r, "", func(string) string {
			if asked++; asked%2 == 0 { // it is the second one's turn
				return "no space left on device"
			}
			return ""
		}, func(p *proxied) { p.names = []string{"lb-00", "lb-01"} })
		defer p.stop()
		r.wait(30 * time.Second)
		r.expectProblem(t, problem.BundleRefused, "the proxy on node lb-01 refused")
		if len(p.tried) != 0 {
			t.Errorf("it was searched for: %q", p.tried)
		}
	})
}

func TestClustersAreJudgedEachByItself(t *testing.T) {
	cfg := config()
	east := cfg.Extensions[0]
	east.Name, east.ServiceCluster, east.ServiceName, east.ProxyServiceName = "east", "east", "east-ext", "east-proxy"
	cfg.Extensions = append(cfg.Extensions, east)
	s := hosts(2)
	s.Service("worse", routed("bad.example.com")).Task("worse", 1, 1, HostPort(80, 32900))
	labels := routed("bad.east.example.com")
	labels["com.docker.lb.service_cluster"] = "east"
	s.Service("eastern", labels).Task("eastern", 1, 1, HostPort(80, 32901))
	run(t, s, cfg, func(r running) {
		p := play(t, r, "", refuseBad)
		defer p.stop()
		r.wait(20 * time.Second)
		p.expectServing(t, "app00.example.com", "app01.example.com")
		publication, _ := r.Tables().Publication("east")
		if hosts := hostsOf(publication.Table).Token; hosts != "bad.east.example.com" {
			t.Errorf("the east has %q", hosts)
		}
	})
}

func TestAnEndpointThatMovesDuringASearchIsServedAtOnce(t *testing.T) {
	run(t, hosts(3), config(), func(r running) {
		slow := make(chan struct{})
		p := play(t, r, "", refuseBad, func(p *proxied) {
			p.check = func(hosts string) string { <-slow; return refuseBad(hosts) }
		})
		defer p.stop()
		r.wait(time.Second)
		r.host("app00", "bad.example.com")
		r.wait(5 * time.Second)
		before, _ := r.Tables().Publication("")
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Tasks, func(t snapshot.Task) bool { return t.ServiceID == "svc-app01" })
			s.Tasks[i].Ports = []snapshot.Port{{Protocol: "tcp", Target: 8080, Published: 33000, Mode: snapshot.PublishHost}}
		})
		r.wait(time.Second)
		r.deliverer.mu.Lock()
		delivered := r.deliverer.bundles[""]
		r.deliverer.mu.Unlock()
		if delivered.TableVersion == before.Version || delivered.Generation <= before.Generation {
			t.Errorf("generation %d is delivered, after %d", delivered.Generation, before.Generation)
		}
		close(slow)
		r.wait(10 * time.Second)
		r.expectProblem(t, problem.Quarantined, "service app00")
		synctest.Wait()
	})
}
