package cli

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// world is what comes of a configuration in a Swarm with a few services.
type world struct {
	docker      docker.Options
	notices     []string
	services    map[string]snapshot.ServiceSpec
	publication render.Publication // of the cluster of the extension "default"
	conf        string             // the nginx.conf
}

// worldOf starts a core with a configuration and waits until it has settled.
func worldOf(t *testing.T, config string) (w world) {
	t.Helper()
	s, err := settings.Parse("config.toml", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	w.docker, w.notices = dockerOptions(s, nil), s.Notices()
	synctest.Test(t, func(t *testing.T) {
		swarm := &fakeSwarm{lists: services()}
		c := core.New(core.Options{
			Settings: s, Source: swarm, Applier: swarm, Deliverer: nobody{}, Issuer: issuer{},
			Container: "container-interlock-1", Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		i := slices.IndexFunc(s.Extensions, func(e settings.Extension) bool { return e.Name == "default" })
		w.publication, _ = c.Tables().Publication(s.Extensions[i].ServiceCluster)
		w.services = swarm.specs()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	bundle, err := new(nginx.Renderer).Render(w.publication.Table, w.publication.Parameters,
		render.Credentials{"secure.local": {Chain: []byte("certificate"), Key: []byte("key")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range bundle.Files {
		if f.Path == w.publication.Parameters.ConfigPath {
			w.conf = string(f.Data())
		}
	}
	return w
}

// services are the core's, an app in host mode, one with a certificate whose
// tasks speak TLS and one on an overlay network.
func services() snapshot.Lists {
	labels := func(hosts string) map[string]string {
		return map[string]string{"com.docker.lb.hosts": hosts, "com.docker.lb.port": "8080"}
	}
	secure := labels("secure.local")
	secure["com.docker.lb.ssl_backend"], secure["com.docker.lb.ssl_cert"] = "true", "secure.pem"
	s := fixture.NewSwarm(2).Network("apps").
		Service("interlock", nil).Task("interlock", 1, 1, fixture.HostPort(8080, 32768), fixture.HostPort(9090, 32769)).
		Service("demo", labels("demo.local")).Task("demo", 1, 2, fixture.HostPort(8080, 30001)).
		Service("secure", secure).Task("secure", 1, 2, fixture.HostPort(8080, 30002)).
		Service("shop", labels("shop.local"), fixture.Joins("apps")).Task("shop", 1, 2, fixture.On("apps", "10.0.1.7")).
		Lists()
	s.Configs = []snapshot.Object{{ID: "config-ours", Name: "ours"}}
	s.Secrets = []snapshot.Object{{ID: "secret-secure", Name: "secure.pem"}}
	return s
}

// fakeSwarm shows what is applied in the next reading, one each second.
type fakeSwarm struct {
	core.Applier
	mu    sync.Mutex
	lists snapshot.Lists
}

func (s *fakeSwarm) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		snap, _ := s.Snapshot(ctx)
		publish(snap)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *fakeSwarm) Snapshot(context.Context) (*snapshot.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists.Snapshot(nil), nil
}

func (s *fakeSwarm) Health() error { return nil }

func (s *fakeSwarm) CreateService(_ context.Context, spec snapshot.ServiceSpec) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists.Services = append(s.lists.Services, snapshot.Service{ID: "svc-" + spec.Name, Version: 1, Spec: spec})
	return "svc-" + spec.Name, nil
}

func (s *fakeSwarm) UpdateService(_ context.Context, id string, _ uint64, spec snapshot.ServiceSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.lists.Services, func(v snapshot.Service) bool { return v.ID == id })
	s.lists.Services[i].Spec = spec
	s.lists.Services[i].Version++
	return nil
}

func (s *fakeSwarm) CreateSecret(_ context.Context, name string, labels map[string]string, _ []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists.Secrets = append(s.lists.Secrets, snapshot.Object{ID: "secret-" + name, Name: name, Labels: maps.Clone(labels)})
	return "secret-" + name, nil
}

func (s *fakeSwarm) specs() map[string]snapshot.ServiceSpec {
	s.mu.Lock()
	defer s.mu.Unlock()
	specs := make(map[string]snapshot.ServiceSpec)
	for _, service := range s.lists.Services {
		specs[service.Spec.Name] = service.Spec
	}
	return specs
}

// nobody is a Deliverer without proxies.
type nobody struct{}

func (nobody) Deliver(string, []delivery.Proxy, *delivery.Bundle) {}
func (nobody) Try(string, string, *delivery.Bundle)               {}

func (nobody) Probe(string, []netip.AddrPort) admission.Answer { return admission.Answer{} }

func (nobody) Statuses() ([]delivery.Status, <-chan struct{}) { return nil, nil }

type issuer struct{ core.Issuer }

func (issuer) Issue(name pki.Name, _ time.Time, _ time.Duration) ([]byte, error) {
	return []byte(name.String()), nil
}
func (issuer) Fingerprint() string         { return "0123456789abcdef" }
func (issuer) Seal(words ...string) string { return strings.Join(words, "/") }
