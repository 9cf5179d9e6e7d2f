package core_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// secret makes a secret whose ID is made from its name.
func (r running) secret(name string, labels map[string]string) {
	r.swarm.change(func(s *snapshot.Lists) {
		s.Secrets = append(s.Secrets, snapshot.Object{ID: "id-" + name, Name: name, Labels: labels})
	})
}

// proves deploys a service, or changes it, so that it names a certificate and a key.
func (r running) proves(name, cert, key string) {
	r.swarm.change(func(s *snapshot.Lists) {
		s.Services = slices.DeleteFunc(slices.Clone(s.Services), func(s snapshot.Service) bool { return s.Spec.Name == name })
		s.Services = append(s.Services, snapshot.Service{ID: "svc-" + name, Spec: snapshot.ServiceSpec{
			Name: name, Labels: map[string]string{
				"com.docker.lb.hosts": name + ".local", "com.docker.lb.port": "8080",
				"com.docker.lb.ssl_cert": cert, "com.docker.lb.ssl_key": key,
			},
		}})
	})
}

// expectMounted fails unless the extension has these secrets beside its identity.
func (r running) expectMounted(t *testing.T, names ...string) {
	t.Helper()
	var got []string
	for _, ref := range r.spec(t, "interlock-ext").Secrets {
		if ref.Target == "interlock-identity" {
			continue
		}
		want := snapshot.FileRef{ID: "id-" + ref.Name, Name: ref.Name, Target: ref.Name, UID: "65532", Mode: 0o400}
		if ref != want {
			t.Errorf("mounted as %+v, want %+v", ref, want)
		}
		got = append(got, ref.Name)
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		t.Errorf("the extension has %q, want %q", got, names)
	}
}

// answer hands back what was rendered from the newest table.
func (r running) answer(result render.Result) {
	p, _ := r.Tables().Publication("")
	r.Tables().PutBundle("", p.Generation, p.Version, result)
	r.wait(time.Second)
}

func TestSecretsThatLabelsNameGoToTheExtensionAlone(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.secret("shop.cert", nil)
		r.secret("shop.key", nil)
		r.secret("unused", nil)
		r.proves("shop", "shop.cert", "shop.key")
		r.proves("other", "shop.cert", "shop.key")
		r.wait(2 * time.Second)
		r.expectMounted(t, "shop.cert", "shop.key")
		if got := r.spec(t, "interlock-ext").UpdateOrder; got != "start-first" {
			t.Errorf("the extension is updated %s", got)
		}
		if secrets := r.spec(t, "interlock-proxy").Secrets; len(secrets) != 1 || secrets[0].Target != "interlock-identity" {
			t.Errorf("the proxies have %+v", secrets)
		}
		if r.swarm.updates != 1 {
			t.Errorf("%d updates", r.swarm.updates)
		}
	})
}

func TestNewSecretsDoNotDisplaceOlderOnesWhereThereIsNoRoom(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.swarm.change(func(s *snapshot.Lists) {
			for i := range 3_000 {
				name := fmt.Sprintf("%064d", 2_999-i)
				s.Secrets = append(s.Secrets, snapshot.Object{ID: "id-" + name, Name: name, CreatedAt: time.Unix(int64(i), 0)})
				s.Services = append(s.Services, snapshot.Service{ID: "svc-" + name, Spec: snapshot.ServiceSpec{
					Name: name, Labels: map[string]string{
						"com.docker.lb.hosts": fmt.Sprintf("h%d.local", i), "com.docker.lb.port": "8080", "com.docker.lb.ssl_cert": name,
					},
				}})
			}
		})
		r.wait(5 * time.Second)
		secrets := r.spec(t, "interlock-ext").Secrets
		if len(secrets) < 1_000 || len(secrets) > 2_000 {
			t.Errorf("%d secrets are mounted", len(secrets))
		}
		for _, ref := range secrets {
			if ref.Name == fmt.Sprintf("%064d", 2_999) {
				return
			}
		}
		t.Error("the oldest is not among them")
	})
}

func TestARenewedCertificateIsMountedBesideTheOldOne(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		for _, name := range []string{"shop.1", "shop.2"} {
			r.secret(name, nil)
		}
		r.proves("shop", "shop.1", "shop.1")
		r.wait(2 * time.Second)
		r.expectMounted(t, "shop.1")
		r.proves("shop", "shop.2", "shop.2")
		r.wait(2 * time.Second)
		r.expectMounted(t, "shop.1", "shop.2")
		r.wait(11 * time.Minute)
		r.settle()
		r.expectMounted(t, "shop.2")
		if r.swarm.updates != 3 {
			t.Errorf("%d updates, want one for each change", r.swarm.updates)
		}
	})
}

func TestSecretsOfInterlocksOwnCannotBeNamed(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.secret("ours", map[string]string{plan.LabelRole: "proxy-identity"})
		r.secret("interlock-identity", nil)
		r.secret("the-authority", nil)
		r.swarm.change(func(s *snapshot.Lists) {
			i := slices.IndexFunc(s.Services, func(s snapshot.Service) bool { return s.Spec.Name == "interlock" })
			s.Services[i].Spec.Secrets = []snapshot.FileRef{{ID: "id-the-authority", Name: "the-authority", Target: "/authority.pem"}}
		})
		for _, name := range []string{"ours", "interlock-identity", "the-authority"} {
			r.proves("app-"+name, name, name)
		}
		r.wait(5 * time.Second)
		r.expectMounted(t)
		for _, name := range []string{"ours", "interlock-identity", "the-authority"} {
			r.expectProblem(t, problem.NoSecret, "service app-"+name)
		}
	})
}

func TestProxiesGetMemoryForKeys(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		want := snapshot.Mount{Type: "tmpfs", Target: "/run/interlock", TmpfsSize: 128 << 20, TmpfsMode: 0o1777}
		if mounts := r.spec(t, "interlock-proxy").Mounts; !slices.Contains(mounts, want) {
			t.Errorf("the proxies have the mounts %+v", mounts)
		}
		if !strings.HasPrefix(render.SensitiveDir, want.Target+"/") {
			t.Errorf("%s is not below %s", render.SensitiveDir, want.Target)
		}
	})
}

func TestOnlyProxiesWithNginxMayEndConnections(t *testing.T) {
	native := config()
	native.Extensions[0].Args = []string{"extension", "native"}
	for _, c := range []struct {
		settings *settings.Settings
		want     []string
		sysctls  int
	}{{config(), []string{"CAP_NET_ADMIN"}, 3}, {native, nil, 0}} {
		run(t, cluster(), c.settings, func(r running) {
			spec := r.spec(t, "interlock-proxy")
			if !slices.Equal(spec.CapabilityAdd, c.want) || len(spec.Sysctls) != c.sysctls {
				t.Errorf("the proxies have the capabilities %q and the sysctls %v", spec.CapabilityAdd, spec.Sysctls)
			}
		})
	}
}

func TestWhatLacksLessIsServed(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		expect := func(token string) {
			t.Helper()
			if b := r.deliverer.bundles[""]; b == nil || b.Token != token {
				t.Errorf("delivered is %+v, want %s", b, token)
			}
		}
		r.answer(render.Result{Bundle: bundle("incomplete"), Missing: []string{"a"}})
		expect("incomplete")
		r.answer(render.Result{Bundle: bundle("complete")})
		expect("complete")
		r.answer(render.Result{Bundle: bundle("of the old task"), Missing: []string{"a"}})
		expect("complete")
		r.answer(render.Result{Bundle: bundle("as complete")})
		expect("as complete")

		r.app("another")
		r.settle()
		r.answer(render.Result{Bundle: bundle("newer"), Missing: []string{"a"}})
		expect("newer")
	})
}

func TestFindingsAreProblemsOfWhoAskedUntilTheyAreGone(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		r.secret("shop.pem", nil)
		r.proves("shop", "shop.pem", "shop.pem")
		r.settle()
		finding := render.Finding{Host: "shop.local", Kind: problem.CertExpired, Text: "It was valid until yesterday."}
		r.answer(render.Result{Bundle: bundle("one"), Findings: []render.Finding{finding}})
		r.wait(3 * time.Second)
		r.expectProblem(t, problem.CertExpired, `service shop: label com.docker.lb.ssl_cert="shop.pem": shop.local: It was valid until yesterday.`)
		r.answer(render.Result{Bundle: bundle("two")})
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}

func TestAFindingAboutManyHostsIsOneProblem(t *testing.T) {
	run(t, demo(32800), config(), func(r running) {
		var findings []render.Finding
		for i := range 5 {
			findings = append(findings, render.Finding{Host: fmt.Sprintf("%d.local", i), Kind: "strange", Text: "Look."})
		}
		r.answer(render.Result{Bundle: bundle("one"), Findings: findings})
		r.wait(3 * time.Second)
		if problems := r.Problems(); len(problems) != 1 || problems[0].Message != "0.local, 1.local, 2.local and 2 more: Look." {
			t.Errorf("problems: %v", problems)
		}
	})
}

func TestASecretThatIsMissingForLongIsAProblem(t *testing.T) {
	run(t, cluster(), config(), func(r running) {
		for _, name := range []string{"shop.cert", "shop.key"} {
			r.secret(name, nil)
		}
		r.proves("shop", "shop.cert", "shop.key")
		r.settle()
		r.answer(render.Result{Bundle: bundle("one"), Missing: []string{"shop.key"}})
		r.wait(28 * time.Second)
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("problems while an extension is updated: %v", problems)
		}
		r.wait(5 * time.Second)
		r.expectProblem(t, problem.NoSecret, `service shop: label com.docker.lb.ssl_key="shop.key"`)
		if problems := r.Problems(); len(problems) != 1 {
			t.Errorf("problems: %v", problems)
		}
		r.answer(render.Result{Bundle: bundle("two")})
		if problems := r.Problems(); len(problems) != 0 {
			t.Errorf("still problems: %v", problems)
		}
	})
}
