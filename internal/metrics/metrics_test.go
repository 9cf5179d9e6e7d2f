package metrics_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/metrics"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; it is never waited for in vain.
const patience = 30 * time.Second

func options(server *proxy.Server) metrics.Options {
	return metrics.Options{
		Health:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }),
		Collector: metrics.Proxy(func() *proxy.Server { return server }), Version: "1.2.3", Logger: slog.New(slog.DiscardHandler),
	}
}

func get(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// serving is a proxy with a table of one host, and where it listens.
func serving(t *testing.T) (server *proxy.Server, table *route.Table, address string) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(app.Close)
	server = proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), Limits: proxy.DefaultLimits()})
	table = &route.Table{
		Hosts:     []route.VirtualHost{{Name: "demo.local", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}}}},
		Upstreams: []route.Upstream{{Name: "app", Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort(app.Listener.Addr().String())}}}},
	}
	if err := server.Swap(table, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, proxy.Entrance{Listener: listener}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return server, table, listener.Addr().String()
}

func TestAProxyTellsOfItsRequestsAndItsTable(t *testing.T) {
	server, table, address := serving(t)
	for _, host := range []string{"demo.local", "demo.local", "evil.test"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	handler := metrics.Handler(options(server))
	wanted := []string{
		`interlock_build_info{version="1.2.3"} 1`,
		`interlock_proxy_requests_total{host="demo.local",service="app",status="2xx"} 2`,
		`interlock_proxy_requests_total{host="",service="",status="5xx"} 1`,
		`interlock_proxy_request_duration_seconds_count{host="demo.local",service="app"} 2`,
		`interlock_proxy_request_duration_seconds_bucket{host="demo.local",service="app",le="+Inf"} 2`,
		`interlock_proxy_requests_in_flight{host="demo.local",service="app"} 0`,
		`interlock_proxy_ejections_total{host="demo.local",service="app"} 0`,
		`interlock_proxy_endpoints{service="app",state="ready"} 1`,
		`interlock_proxy_connections_total{result="accepted"} 3`,
		`interlock_proxy_connections_total{result="refused"} 0`,
		`interlock_proxy_table_info{version="` + table.Version() + `"} 1`,
		`interlock_proxy_table_generation 1`,
		`interlock_proxy_table_swap_duration_seconds_count 1`,
		`interlock_proxy_panics_total 0`,
		`interlock_proxy_access_log_dropped_total 0`,
		`go_goroutines `, `process_cpu_seconds_total `,
	}
	deadline := time.Now().Add(patience)
	for {
		missing, got := "", get(t, handler, "/metrics")
		for _, line := range wanted {
			if !strings.Contains(got, line) {
				missing = line
			}
		}
		if strings.Contains(got, "evil.test") {
			t.Fatal("what clients send becomes a label")
		}
		if missing == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in:\n%s", missing, got)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := get(t, handler, "/healthz"); got != "well" {
		t.Errorf("got %q", got)
	}
}

func TestAProxyThatDoesNotRunYetHasNoFigures(t *testing.T) {
	if got := get(t, metrics.Handler(options(nil)), "/metrics"); strings.Contains(got, "interlock_proxy_") {
		t.Errorf("got:\n%s", got)
	}
}

func TestTheAdminAddressIsServedUntilTheEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- metrics.Serve(ctx, listener, options(nil)) }()
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + listener.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if c, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		c.Close()
		t.Error("the address still answers")
	}
}
