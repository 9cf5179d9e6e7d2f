package core_test

import (
	"context"
	"io/fs"
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
	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// swarm stands in for Swarm at the core's seams: what is applied shows in the
// next reading.
type swarm struct {
	mu         sync.Mutex
	lists      snapshot.Lists
	last       *snapshot.Snapshot // as read; nil: not yet
	readings   chan *snapshot.Snapshot
	refuse     error // what every change is answered with
	unreadable error // what a reading on demand is answered with
	ill        error // what the source's health is
	updates    int
	writes     int
	contents   map[string][]byte // of configs, by ID
	removed    []string          // IDs
}

func newSwarm(s *Swarm) *swarm {
	return &swarm{lists: s.Lists(), readings: make(chan *snapshot.Snapshot, 100), contents: make(map[string][]byte)}
}

func (s *swarm) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snap := <-s.readings:
			publish(snap)
		}
	}
}

// Snapshot reads what there is, unless a test lets that fail.
func (s *swarm) Snapshot(context.Context) (*snapshot.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unreadable != nil {
		return nil, s.unreadable
	}
	return s.reading(), nil
}

func (s *swarm) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ill
}

// show publishes a reading of what there is.
func (s *swarm) show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readings <- s.reading()
}

func (s *swarm) reading() *snapshot.Snapshot {
	s.last = s.lists.Snapshot(s.last)
	return s.last
}

func (s *swarm) change(f func(*snapshot.Lists)) {
	s.mu.Lock()
	f(&s.lists)
	s.mu.Unlock()
	s.show()
}

func (s *swarm) write() error {
	s.writes++
	return s.refuse
}

func (s *swarm) CreateService(_ context.Context, spec snapshot.ServiceSpec) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return "", err
	}
	id := "svc-" + spec.Name
	s.lists.Services = append(s.lists.Services, snapshot.Service{ID: id, Version: 1, Spec: spec})
	return id, nil
}

func (s *swarm) UpdateService(_ context.Context, id string, version uint64, spec snapshot.ServiceSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return err
	}
	service := s.service(id)
	if service.Version != version {
		return plan.ErrOutdated
	}
	s.updates++
	service.Version++
	service.PreviousConfigs = nil
	for _, c := range service.Spec.Configs {
		service.PreviousConfigs = append(service.PreviousConfigs, c.ID)
	}
	service.Spec = spec
	return nil
}

func (s *swarm) service(id string) *snapshot.Service {
	i := slices.IndexFunc(s.lists.Services, func(v snapshot.Service) bool { return v.ID == id })
	return &s.lists.Services[i]
}

func (s *swarm) CreateSecret(_ context.Context, name string, labels map[string]string, _ []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return "", err
	}
	if slices.ContainsFunc(s.lists.Secrets, func(o snapshot.Object) bool { return o.Name == name }) {
		return "", plan.ErrOutdated
	}
	s.lists.Secrets = append(s.lists.Secrets, snapshot.Object{ID: "secret-" + name, Name: name, Labels: maps.Clone(labels)})
	return "secret-" + name, nil
}

func (s *swarm) RemoveService(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return err
	}
	s.removed = append(s.removed, id)
	s.lists.Services = slices.DeleteFunc(s.lists.Services, func(v snapshot.Service) bool { return v.ID == id })
	return nil
}

func (s *swarm) RemoveSecret(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return err
	}
	s.removed = append(s.removed, id)
	s.lists.Secrets = slices.DeleteFunc(s.lists.Secrets, func(o snapshot.Object) bool { return o.ID == id })
	return nil
}

func (s *swarm) CreateConfig(_ context.Context, name string, labels map[string]string, data []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return "", err
	}
	if slices.ContainsFunc(s.lists.Configs, func(o snapshot.Object) bool { return o.Name == name }) {
		return "", plan.ErrOutdated
	}
	id := "config-" + name
	s.lists.Configs = append(s.lists.Configs, snapshot.Object{ID: id, Name: name, CreatedAt: time.Now(), Labels: maps.Clone(labels)})
	s.contents[id] = data
	return id, nil
}

func (s *swarm) ReadConfig(_ context.Context, id string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, found := s.contents[id]
	if !found {
		return nil, plan.ErrOutdated
	}
	return data, nil
}

func (s *swarm) RemoveConfig(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return err
	}
	for _, service := range s.lists.Services {
		if slices.ContainsFunc(service.Spec.Configs, func(f snapshot.FileRef) bool { return f.ID == id }) {
			return fs.ErrExist
		}
	}
	s.lists.Configs = slices.DeleteFunc(s.lists.Configs, func(o snapshot.Object) bool { return o.ID == id })
	delete(s.contents, id)
	return nil
}

// question is what a proxy, known by its task, is asked about.
type question struct {
	task   string
	bundle *delivery.Bundle
}

// deliverer remembers what it was last told to deliver.
type deliverer struct {
	mu       sync.Mutex
	proxies  map[string][]delivery.Proxy
	bundles  map[string]*delivery.Bundle
	tried    map[string]question
	statuses []delivery.Status
	outdated chan struct{}
	// refusing are the addresses that accept no connections; mute says that no
	// proxy can be asked.
	refusing map[netip.AddrPort]bool
	mute     bool
	asked    []netip.AddrPort // last
}

func newDeliverer() *deliverer {
	return &deliverer{proxies: map[string][]delivery.Proxy{}, bundles: map[string]*delivery.Bundle{}, tried: map[string]question{}, outdated: make(chan struct{})}
}

func (d *deliverer) Deliver(cluster string, proxies []delivery.Proxy, b *delivery.Bundle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proxies[cluster], d.bundles[cluster] = proxies, b
}

func (d *deliverer) Try(cluster, task string, b *delivery.Bundle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried[cluster] = question{task, b}
}

func (d *deliverer) Probe(_ string, addresses []netip.AddrPort) admission.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = addresses
	answer := admission.Answer{Accepts: make(map[netip.AddrPort]bool), Asked: !d.mute}
	for _, a := range addresses {
		answer.Accepts[a] = !d.mute && !d.refusing[a]
	}
	return answer
}

func (d *deliverer) Statuses() ([]delivery.Status, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.statuses, d.outdated
}

func (d *deliverer) report(statuses ...delivery.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.statuses = statuses
	close(d.outdated)
	d.outdated = make(chan struct{})
}

type issuer struct{}

func (issuer) Issue(name pki.Name, _ time.Time, _ time.Duration) ([]byte, error) {
	return []byte(name.String()), nil
}
func (issuer) Fingerprint() string         { return "0123456789abcdef" }
func (issuer) Seal(words ...string) string { return strings.Join(words, "/") }

func config() *settings.Settings {
	return &settings.Settings{
		ListenAddr: ":8080", PollInterval: 3 * time.Second,
		Extensions: []settings.Extension{{
			Name: "default", Image: "interlock-extension:1", ServiceName: "interlock-ext",
			ProxyImage: "interlock-proxy:1", ProxyServiceName: "interlock-proxy", ProxyConfigPath: "/etc/nginx/nginx.conf", ProxyReplicas: 1,
			PublishMode: snapshot.PublishHost, PublishedPort: 80, TargetPort: 80, PublishedSSLPort: 443, TargetSSLPort: 443,
		}},
	}
}

// cluster is a Swarm whose first service is the core itself.
func cluster() *Swarm {
	return NewSwarm(3).Service("interlock", nil).Task("interlock", 1, 1, HostPort(8080, 32768))
}

type running struct {
	*core.Core
	swarm     *swarm
	deliverer *deliverer
}

// life is what one core does over a Swarm.
type life struct {
	settings *settings.Settings
	f        func(running)
}

// run starts a core over s in a bubble of its own time and calls f once it has
// settled.
func run(t *testing.T, s *Swarm, cfg *settings.Settings, f func(running)) {
	t.Helper()
	runLives(t, s, life{cfg, f})
}

// runLives is run for cores that follow one another.
func runLives(t *testing.T, s *Swarm, lives ...life) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		over := newSwarm(s)
		for _, l := range lives {
			r := running{swarm: over, deliverer: newDeliverer()}
			r.Core = core.New(core.Options{
				Settings: l.settings, Source: r.swarm, Applier: r.swarm, Deliverer: r.deliverer, Issuer: issuer{},
				Container: "container-interlock-1", RemovalGrace: core.RemovalGrace, Logger: slog.New(slog.DiscardHandler),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			r.settle()
			l.f(r)
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run returned %v", err)
			}
		}
	})
}

// settle shows Swarm's state until the core no longer changes it.
func (r running) settle() {
	for range 3 {
		r.swarm.show()
		r.wait(time.Second)
	}
}

// wait lets d pass, and whatever follows from it happen.
func (r running) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r running) spec(t *testing.T, name string) snapshot.ServiceSpec {
	t.Helper()
	r.swarm.mu.Lock()
	defer r.swarm.mu.Unlock()
	for _, s := range r.swarm.lists.Services {
		if s.Spec.Name == name {
			return s.Spec
		}
	}
	t.Fatalf("there is no service %s; problems: %v", name, r.Problems())
	return snapshot.ServiceSpec{}
}

func (r running) expectProblem(t *testing.T, kind problem.Kind, words string) {
	t.Helper()
	for _, p := range r.Problems() {
		if p.Kind == kind && strings.Contains(p.String(), words) {
			return
		}
	}
	t.Errorf("no problem of kind %s that says %q; there are: %v", kind, words, r.Problems())
}
