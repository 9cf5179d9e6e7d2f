package rpc_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	rendernginx "github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/rpc"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// site is Interlock as a whole but for Swarm: a core, an extension and an agent
// with a real nginx, which speak to each other over the wire.
type site struct {
	t     *testing.T
	core  *core.Core
	swarm *still
	agent *agent.Agent
	port  uint16 // nginx's
}

// still is a Swarm that shows what a test sets and that nobody else changes.
type still struct {
	readings chan *snapshot.Snapshot
	current  atomic.Pointer[snapshot.Snapshot]
}

func (s *still) set(snap *snapshot.Snapshot) {
	s.current.Store(snap)
	s.readings <- snap
}

func (s *still) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snap := <-s.readings:
			publish(snap)
		}
	}
}

func (s *still) Snapshot(context.Context) (*snapshot.Snapshot, error) { return s.current.Load(), nil }

func (s *still) Health() error { return nil }

func (s *still) CreateService(context.Context, snapshot.ServiceSpec) (string, error) {
	return "", plan.ErrOutdated
}

func (s *still) UpdateService(context.Context, string, uint64, snapshot.ServiceSpec) error {
	return plan.ErrOutdated
}

func (s *still) CreateSecret(context.Context, string, map[string]string, []byte) (string, error) {
	return "", plan.ErrOutdated
}

func (s *still) CreateConfig(context.Context, string, map[string]string, []byte) (string, error) {
	return "", plan.ErrOutdated
}

func (s *still) ReadConfig(context.Context, string) ([]byte, error) { return nil, plan.ErrOutdated }

func (s *still) RemoveConfig(context.Context, string) error { return plan.ErrOutdated }

func (s *still) RemoveService(context.Context, string) error { return plan.ErrOutdated }

func (s *still) RemoveSecret(context.Context, string) error { return plan.ErrOutdated }

// spoiling renders what nginx refuses for the hosts that begin with "bad": no
// value is known with which a label does it.
type spoiling struct{ rendernginx.Renderer }

func (s spoiling) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	b, err := s.Renderer.Render(t, p, c)
	for _, h := range t.Hosts {
		if strings.HasPrefix(h.Name, "bad") {
			b.Files[0].Content = render.NewContent(append([]byte("no_such_directive "+h.Name+";\n"), b.Files[0].Data()...))
		}
	}
	return b, err
}

// newSite starts all of it. The agent's first word is given to a Swarm that a
// test extends with services.
func newSite(t *testing.T) (*site, func() *fixture.Swarm) {
	t.Helper()
	dir, err := os.MkdirTemp("", "site") // a unix socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := newAuthority(t)
	s := &site{t: t, swarm: &still{readings: make(chan *snapshot.Snapshot, 100)}, port: freePort(t)}
	agentAt := s.startAgent(a, dir)
	d := runDeliverer(t, a, a.identity(theCore))
	s.core = core.New(core.Options{
		Settings: siteSettings(dir, s.port), Source: s.swarm, Applier: s.swarm, Deliverer: d, Issuer: a, Logger: silent(),
	})
	tables := rpc.NewTableServer(rpc.TableServerOptions{Tables: s.core.Tables(), Identity: a.identity(theCore), Sign: a.sign, Logger: silent()})
	listener := listen(t, "127.0.0.1:0")
	background(t, func(ctx context.Context) error { return tables.Serve(ctx, listener) })
	s.startExtension(a, dir, listener.Addr().String())
	background(t, s.core.Run)
	return s, func() *fixture.Swarm { return swarmWithProxy(a, agentAt) }
}

func siteSettings(dir string, port uint16) *settings.Settings {
	return &settings.Settings{ListenAddr: ":8080", PollInterval: time.Second, EndpointOverride: "core:8080", Extensions: []settings.Extension{{
		Name: "default", ServiceCluster: "us-east", ServiceName: "ext", ProxyServiceName: "proxy", ProxyImage: "interlock-proxy:1", ProxyConfigPath: filepath.Join(dir, "etc/nginx.conf"), TargetPort: port,
		Config: map[string]any{
			"User": "root", "PidPath": filepath.Join(dir, "pid"), "WorkerProcesses": "1", "RLimitNoFile": "1024",
			"AccessLogPath": filepath.Join(dir, "access.log"), "ErrorLogPath": filepath.Join(dir, "error.log"),
		},
	}}}
}

func (s *site) startAgent(a authority, dir string) netip.AddrPort {
	s.t.Helper()
	proxy, err := agentnginx.New(agentnginx.Options{
		Binary: fixture.Program(s.t, "nginx"), ConfigPath: filepath.Join(dir, "etc/nginx.conf"), StatusSocket: filepath.Join(dir, "status.sock"),
		TempDir: filepath.Join(dir, "temp"), Logger: silent(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	staging := filepath.Join(dir, "staging")
	if err := os.Mkdir(staging, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.agent = agent.New(agent.Options{
		Proxy: proxy, Folders: []string{filepath.Join(dir, "etc")}, StateDir: filepath.Join(dir, "state"), StagingDir: staging,
		StorageKey: func() ([]byte, error) { return make([]byte, 32), nil }, Logger: silent(),
	})
	background(s.t, s.agent.Run)
	listener := listen(s.t, "127.0.0.1:0")
	server := rpc.NewAgentServer(rpc.AgentServerOptions{Agent: s.agent, Identity: a.identity(eastProx), Health: s.agent.HealthHandler(), Logger: silent()})
	background(s.t, func(ctx context.Context) error { return server.Serve(ctx, listener) })
	return netip.MustParseAddrPort(listener.Addr().String())
}

func (s *site) startExtension(a authority, dir, endpoint string) {
	s.t.Helper()
	identity := a.identity(eastExt)
	client, err := rpc.DialCore(endpoint, identity)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	renderer := spoiling{rendernginx.Renderer{ServerInfo: "interlock/test", StatusSocket: filepath.Join(dir, "status.sock"), TempDir: filepath.Join(dir, "temp")}}
	background(s.t, extension.New(extension.Options{Core: client, Renderer: renderer, Identity: identity, Logger: silent()}).Run)
}

// swarmWithProxy has the proxy service, with a task where the agent listens.
func swarmWithProxy(a authority, agentAt netip.AddrPort) *fixture.Swarm {
	swarm := fixture.NewSwarm(1).Service("proxy", map[string]string{
		plan.LabelExtension: "default", plan.LabelRole: string(plan.RoleProxy), plan.LabelSeal: a.Seal("proxy", "default", string(plan.RoleProxy)),
	})
	return swarm.Task("proxy", 1, 1, fixture.HostPort(core.AgentPort, agentAt.Port()))
}

// show lets Swarm have services, each with its host and an app.
func (s *site) show(swarm *fixture.Swarm, app *httptest.Server, hosts map[string]string) {
	port := netip.MustParseAddrPort(app.Listener.Addr().String()).Port()
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		swarm.Service(name, map[string]string{
			"com.docker.lb.hosts": hosts[name], "com.docker.lb.port": "80", "com.docker.lb.service_cluster": "us-east",
		}).Task(name, 1, 1, fixture.HostPort(80, port))
	}
	snap := swarm.Snapshot()
	for i := range snap.Nodes {
		snap.Nodes[i].Addr = netip.MustParseAddr("127.0.0.1")
	}
	s.swarm.set(snap)
}

// get asks nginx for a host; an error for anything but the app's answer.
func (s *site) get(host string) error {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", s.port), http.NoBody)
	if err != nil {
		return err
	}
	request.Host, request.Close = host, true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil || body.String() != "app" {
		return fmt.Errorf("%s answers %d, %q: %w", host, response.StatusCode, body.String(), err)
	}
	return nil
}

func (s *site) serves(hosts ...string) {
	s.t.Helper()
	for _, host := range hosts {
		eventually(s.t, host+" is served", func() bool { return s.get(host) == nil })
	}
}

func (s *site) quarantined() []string {
	var names []string
	for _, p := range s.core.Problems() {
		if p.Kind == problem.Quarantined {
			names = append(names, p.Service)
		}
	}
	return names
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener := listen(t, "127.0.0.1:0")
	defer listener.Close()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// countReloads counts the bundles that nginx serves from now on until the
// function that it returns is called.
func (s *site) countReloads() (stop func() int) {
	seen := make(chan int, 1)
	done := make(chan struct{})
	go func() {
		count, last := 0, ""
		for {
			status, outdated := s.agent.Status()
			if last != "" && status.BundleVersion != last {
				count++
			}
			last = status.BundleVersion
			select {
			case <-outdated:
			case <-done:
				seen <- count
				return
			}
		}
	}()
	return func() int { close(done); return <-seen }
}

func newApp(t *testing.T) *httptest.Server {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("app")) }))
	t.Cleanup(app.Close)
	return app
}
