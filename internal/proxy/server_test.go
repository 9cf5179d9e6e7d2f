package proxy_test

import (
	"bufio"
	"context"
	"fmt"
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

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; it is never waited for in vain.
const patience = 30 * time.Second

// rig is a server on a port of its own.
type rig struct {
	t      *testing.T
	server *proxy.Server
	// addr takes plain HTTP, secureAddr TLS.
	addr, secureAddr string
}

func newRig(t *testing.T, change ...func(*proxy.Options)) *rig {
	t.Helper()
	options := proxy.Options{
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), ProxyID: "proxy-1", ServerInfo: "interlock/test",
		Limits: proxy.DefaultLimits(),
	}
	options.Limits.Shutdown = 100 * time.Millisecond
	for _, c := range change {
		c(&options)
	}
	plain, secure := entrance(t), entrance(t)
	options.SecurePort = uint16(secure.Addr().(*net.TCPAddr).Port)
	r := &rig{t: t, server: proxy.New(options), addr: plain.Addr().String(), secureAddr: secure.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- r.server.Run(ctx, proxy.Entrance{Listener: plain}, proxy.Entrance{Listener: secure, TLS: true})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("the server does not end")
		}
	})
	return r
}

func entrance(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func (r *rig) serve(table *route.Table) {
	r.t.Helper()
	if err := r.server.Swap(table, nil); err != nil {
		r.t.Fatal(err)
	}
}

// app serves what a handler does.
func app(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func upstream(name string, apps ...*httptest.Server) route.Upstream {
	u := route.Upstream{Name: name}
	for _, a := range apps {
		u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(a.Listener.Addr().String())})
	}
	return u
}

func to(upstreams ...string) route.Forward { return route.Forward{Upstreams: upstreams} }

// demo is a table of demo.local alone.
func demo(routes []route.Route, upstreams ...route.Upstream) *route.Table {
	return &route.Table{Hosts: []route.VirtualHost{{Name: "demo.local", Routes: routes}}, Upstreams: upstreams}
}

func all(apps ...*httptest.Server) *route.Table {
	return demo([]route.Route{{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")}}, upstream("app", apps...))
}

// dial opens a connection of bytes.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// says sends bytes over a new connection and returns all that comes back until
// it ends.
func (r *rig) says(request string) string {
	r.t.Helper()
	c := r.dial()
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		r.t.Logf("after %q: %v", got, err)
	}
	return string(got)
}

func echo(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%s %s %s", q.Method, q.RequestURI, body)
}

func TestRequestsAndAnswersGoThrough(t *testing.T) {
	r := newRig(t)
	r.serve(all(app(t, echo)))
	for _, test := range []struct{ sent, want string }{
		{"GET /x?q HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n", "GET /x?q "},
		{"GET /x HTTP/1.0\r\nHost: demo.local\r\n\r\n", "GET /x "},
		{"POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "POST / hello"},
		{"POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n", "POST / hello!"},
	} {
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(r.says(test.sent))), nil)
		if err != nil {
			t.Fatalf("%q: %v", test.sent, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || string(body) != test.want {
			t.Errorf("%q: %d %q, %v; want %q", test.sent, response.StatusCode, body, err, test.want)
		}
	}
}
