package bench

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
)

var changes = flag.Int("changes", 60, "how often BenchmarkReload changes the endpoints")

// What BenchmarkReload puts on: 64 clients that keep their connections and send
// 3,000 POST requests a second in all, while endpoints change twice a second.
const (
	changeEvery   = 500 * time.Millisecond
	reloadClients = 64
	reloadPace    = reloadClients * time.Second / 3000
)

// changing is a proxy whose endpoints change.
type changing struct {
	address string
	change  func(endpoints int) // to so many of the apps
}

// BenchmarkReload counts the requests that clients which keep connections lose to
// changes of endpoints: an nginx that is told to reload, with nothing of
// Interlock, an nginx under Interlock's agent, and the native proxy.
func BenchmarkReload(b *testing.B) {
	for _, c := range []struct {
		name  string
		serve func(b *testing.B, apps []netip.AddrPort) changing
	}{{"bare-nginx", serveBare}, {"nginx", serveNginx}, {"native", serveNative}} {
		b.Run(c.name, func(b *testing.B) {
			apps := startApps(b, 2)
			for b.Loop() {
				measureChanges(b, c.serve(b, apps))
			}
		})
	}
}

func measureChanges(b *testing.B, p changing) {
	waitAnswers(b, p.address)
	l := load.Start(load.Options{
		Proxies: []string{p.address}, Routes: []load.Route{{Host: "demo.local", Path: "/", Owner: "demo"}},
		Kinds: []load.Kind{{Method: http.MethodPost, KeepAlive: true}}, Workers: reloadClients, Every: reloadPace,
		Timeout: 10 * time.Second, Limit: time.Hour,
	})
	defer l.Stop()
	for i := range *changes {
		time.Sleep(changeEvery)
		p.change(1 + i%2)
	}
	time.Sleep(changeEvery)
	r := l.Stop()
	noTimePerOperation(b)
	b.ReportMetric(float64(r.SentInAll()), "requests")
	b.ReportMetric(float64(r.LostInAll()), "lost")
	b.ReportMetric(float64(r.LostInAll())/float64(*changes), "lost/change")
	b.ReportMetric(1e4*float64(r.LostInAll())/float64(r.SentInAll()), "lost/10,000")
	for _, loss := range r.Losses[:min(3, len(r.Losses))] {
		b.Log(loss)
	}
}

// startApps starts apps that answer as the demo app does.
func startApps(b *testing.B, n int) (addrs []netip.AddrPort) {
	for range n {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"instance":"bench","metadata":"demo"}`)
		}))
		b.Cleanup(app.Close)
		addrs = append(addrs, netip.MustParseAddrPort(app.Listener.Addr().String()))
	}
	return addrs
}

func waitAnswers(b *testing.B, address string) {
	check(b, lab.Eventually(b.Context(), patience, func(ctx context.Context) error {
		answer, err := lab.Curl(ctx, "http://"+address+"/", "Host: demo.local")
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("%s answers %d", address, answer.Status)
		}
		return err
	}))
}

const bareConfiguration = `daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 2;
events { worker_connections 2048; }
http {
	access_log off;
	keepalive_requests 1000000;
	upstream app { keepalive 64; %[2]s }
	server { listen %[3]s; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app; } }
}
`

func serveBare(b *testing.B, apps []netip.AddrPort) changing {
	dir, address := b.TempDir(), "127.0.0.1:"+strconv.Itoa(int(freePort(b)))
	file := filepath.Join(dir, "nginx.conf")
	write := func(endpoints int) {
		servers := ""
		for _, app := range apps[:endpoints] {
			servers += "server " + app.String() + ";"
		}
		check(b, os.WriteFile(file, fmt.Appendf(nil, bareConfiguration, dir, servers, address), 0o600))
	}
	write(1)
	cmd := exec.Command(fixture.Program(b, "nginx"), "-c", file, "-p", dir)
	check(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
	})
	return changing{address, func(endpoints int) {
		write(endpoints)
		check(b, cmd.Process.Signal(syscall.SIGHUP))
	}}
}

func serveNginx(b *testing.B, apps []netip.AddrPort) changing {
	dir := shortDir(b)
	proxy, renderer, config := nginxBelow(b, dir)
	return underAgent(b, dir, proxy, "etc/nginx.conf", apps, renderer.Render, config)
}

// nginxBelow is an nginx that has all its files below one folder, the renderer for it,
// and the operator's options.
func nginxBelow(b *testing.B, dir string) (agent.Proxy, nginx.Renderer, map[string]any) {
	at := func(name string) string { return filepath.Join(dir, name) }
	proxy, err := agentnginx.New(agentnginx.Options{
		Binary: fixture.Program(b, "nginx"), ConfigPath: at("etc/nginx.conf"), StatusSocket: at("status.sock"), TempDir: at("state/nginx"),
		Logger: slog.New(slog.DiscardHandler),
	})
	check(b, err)
	renderer := nginx.Renderer{ServerInfo: "interlock/bench", StatusSocket: at("status.sock"), TempDir: at("state/nginx"), KeyDir: at("keys")}
	return proxy, renderer, map[string]any{
		"User": "root", "PidPath": at("pid"), "WorkerProcesses": "2", "AccessLogPath": at("access.log"), "ErrorLogPath": at("error.log"),
		"KeepaliveRequests": 1_000_000.0,
	}
}

func serveNative(b *testing.B, apps []netip.AddrPort) changing {
	dir := shortDir(b)
	proxy := agentnative.New(agentnative.Options{
		File: filepath.Join(dir, "etc/table"), KeyDir: filepath.Join(dir, "keys"), Host: "127.0.0.1", ProxyID: "bench", ServerInfo: "interlock/bench",
	})
	renderer := native.Renderer{File: filepath.Join(dir, "etc/table"), KeyDir: filepath.Join(dir, "keys")}
	return underAgent(b, dir, proxy, "etc/table", apps, renderer.Render, map[string]any{"KeepaliveRequests": 1_000_000.0})
}

// underAgent runs an agent with a proxy, which gets a bundle for each change.
func underAgent(b *testing.B, dir string, proxy agent.Proxy, file string, apps []netip.AddrPort,
	render func(*route.Table, render.Parameters, render.Credentials) (render.Bundle, error), config map[string]any,
) changing {
	a := runAgent(b, dir, proxy)
	port := freePort(b)
	change := func(endpoints int) {
		bundle, err := render(tableOf(apps[:endpoints]), parameters(port, filepath.Join(dir, file), config), nil)
		check(b, err)
		check(b, a.Apply(b.Context(), bundle, strconv.Itoa(endpoints)))
	}
	change(1)
	return changing{"127.0.0.1:" + strconv.Itoa(int(port)), change}
}

// runAgent runs an agent, with all that it has below one folder.
func runAgent(b *testing.B, dir string, proxy agent.Proxy) *agent.Agent {
	at := func(name string) string { return filepath.Join(dir, name) }
	a := agent.New(agent.Options{
		Proxy: proxy, Folders: []string{at("etc")}, StateDir: at("state"), SensitiveDir: at("keys"),
		StorageKey: func() ([]byte, error) { return make([]byte, 32), nil }, InMemory: func(string) (bool, error) { return true, nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return a
}

func parameters(port uint16, file string, config map[string]any) render.Parameters {
	return render.Parameters{Port: port, ConfigPath: file, Config: config}
}

func tableOf(apps []netip.AddrPort) *route.Table {
	t := &route.Table{
		Hosts:     []route.VirtualHost{{Name: "demo.local", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"demo"}}}}}},
		Upstreams: []route.Upstream{{Name: "demo"}},
	}
	for _, app := range slices.SortedFunc(slices.Values(apps), netip.AddrPort.Compare) {
		t.Upstreams[0].Endpoints = append(t.Upstreams[0].Endpoints, route.Endpoint{Addr: app, Task: app.String()})
	}
	return t
}

// shortDir is for unix sockets, whose paths have to be short.
func shortDir(b *testing.B) string {
	dir, err := os.MkdirTemp("", "bench")
	check(b, err)
	b.Cleanup(func() { check(b, os.RemoveAll(dir)) })
	return dir
}

func freePort(b *testing.B) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}
