package nginx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	rendernginx "github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; it is never waited for in vain.
const patience = 30 * time.Second

// rig is an agent with a real nginx, all of it below one folder.
type rig struct {
	t       *testing.T
	dir     string
	port    uint16
	sslPort uint16
	// credentials are those at hand when a table is rendered.
	credentials render.Credentials
	split       render.Split
	options     agent.Options
	agent       *agent.Agent
	cancel      context.CancelFunc
	ended       chan error
}

func newRig(t *testing.T, change ...func(*agent.Options)) *rig {
	t.Helper()
	t.Parallel()
	binary := fixture.Program(t, "nginx")
	// Not t.TempDir: a unix socket's path has to be short.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, dir: dir, port: freePort(t), sslPort: freePort(t)}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	proxy, err := agentnginx.New(agentnginx.Options{
		Binary: binary, ConfigPath: r.path("etc/nginx.conf"), StatusSocket: r.path("run/status.sock"),
		TempDir: r.path("state/nginx"), Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.options = agent.Options{Proxy: proxy, Folders: []string{r.path("etc")}, StateDir: r.path("state"), StorageKey: func() ([]byte, error) { return make([]byte, 32), nil }, StagingDir: r.path("staging"), SensitiveDir: r.path("keys"), InMemory: func(string) (bool, error) { return true, nil }, Logger: log}
	if err := os.Mkdir(r.options.StagingDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&r.options)
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) start() {
	r.agent = agent.New(r.options)
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	ended := make(chan error, 1)
	r.ended = ended
	go func() { ended <- r.agent.Run(ctx) }()
}

// stop ends the agent as a signal would, and waits for it.
func (r *rig) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("the agent ended with: %v", err)
		}
	case <-time.After(patience):
		r.t.Fatal("the agent does not end")
	}
}

// bundle renders a table with one host, demo.local, at the given apps.
func (r *rig) bundle(apps ...*httptest.Server) render.Bundle { return r.bundleOn(r.port, apps...) }

func (r *rig) bundleOn(port uint16, apps ...*httptest.Server) render.Bundle {
	r.t.Helper()
	return r.render(port, tableFor(apps...), nil)
}

// tableFor has one host, demo.local, at the given apps.
func tableFor(apps ...*httptest.Server) *route.Table {
	table := &route.Table{
		Hosts: []route.VirtualHost{{
			Name:   "demo.local",
			Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"demo"}}}},
		}},
		Upstreams: []route.Upstream{{Name: "demo"}},
	}
	for _, app := range apps {
		addr := netip.MustParseAddrPort(app.Listener.Addr().String())
		table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: addr})
	}
	return table
}

// render makes the bundle for a table, with options beside those of the rig.
func (r *rig) render(port uint16, table *route.Table, config map[string]any) render.Bundle {
	r.t.Helper()
	options := map[string]any{
		"User": "root", "PidPath": r.path("pid"), "WorkerProcesses": "2", "RLimitNoFile": "1024",
		"AccessLogPath": r.path("access.log"), "ErrorLogPath": r.path("error.log"),
	}
	maps.Copy(options, config)
	renderer := rendernginx.Renderer{ServerInfo: "interlock/test", StatusSocket: r.path("run/status.sock"), TempDir: r.path("state/nginx"), KeyDir: r.path("keys"), Split: r.split}
	b, err := renderer.Render(table, render.Parameters{
		Port: port, SSLPort: r.sslPort, PublishedSSLPort: r.sslPort, ConfigPath: r.path("etc/nginx.conf"), Config: options,
	}, r.credentials)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *rig) apply(b render.Bundle) {
	r.t.Helper()
	if err := r.agent.Apply(r.t.Context(), b, "table"); err != nil {
		r.t.Fatalf("applying a good bundle: %v", err)
	}
}

// refused applies a bundle that must be refused, and returns why it was.
func (r *rig) refused(b render.Bundle) string {
	r.t.Helper()
	err := r.agent.Apply(r.t.Context(), b, "table")
	var refused *agent.Refused
	if !errors.As(err, &refused) {
		r.t.Fatalf("want a refusal, got: %v", err)
	}
	return refused.Reason
}

type answer struct {
	status int
	body   string
	header http.Header
}

// get sends a request over a new connection.
func (r *rig) get(host, path string) (answer, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", r.port, path), nil)
	if err != nil {
		return answer{}, err
	}
	request.Host = host
	request.Header.Set("X-Request-Id", "the client's own")
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(body), response.Header}, err
}

func (r *rig) answers(want string) {
	r.t.Helper()
	got, err := r.get("demo.local", "/")
	if err != nil || got.status != http.StatusOK || got.body != want {
		r.t.Fatalf("want the answer %q, got %+v, %v", want, got, err)
	}
}

// eventually waits until a condition holds.
func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// master returns the process ID of nginx.
func (r *rig) master() int {
	r.t.Helper()
	data, err := os.ReadFile(r.path("pid"))
	if err != nil {
		r.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		r.t.Fatal(err)
	}
	return pid
}

// app answers its name, and what it was sent at /echo.
func app(t *testing.T, name string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Request-Id", "the app's own")
		fmt.Fprintf(w, "%s|%s|%s|%s|%s", q.Host, q.Header.Get("X-Real-Ip"), q.Header.Get("X-Forwarded-For"),
			q.Header.Get("X-Forwarded-Proto"), q.Header.Get("X-Request-Id"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// slowApp answers when told to; arrived says that a request has come.
func slowApp(t *testing.T) (server *httptest.Server, arrived <-chan struct{}, release func()) {
	t.Helper()
	here, free := make(chan struct{}, 1), make(chan struct{})
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		here <- struct{}{}
		<-free
		fmt.Fprint(w, "slow")
	}))
	t.Cleanup(server.Close)
	return server, here, func() { close(free) }
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, port := takePort(t)
	listener.Close()
	return port
}

// takePort listens on a port below those that the kernel gives to clients, so
// that none of them takes it while nginx is not listening yet.
func takePort(t *testing.T) (net.Listener, uint16) {
	t.Helper()
	for range 1000 {
		port := uint16(20000 + rand.IntN(12000))
		if listener, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port)); err == nil {
			return listener, port
		}
	}
	t.Fatal("no free port found")
	return nil, 0
}
