package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestAHeadThatIsTooLargeIsRefused(t *testing.T) {
	r := newRig(t)
	r.serve(all(app(t, echo)))
	for name, fields := range map[string]string{
		"a long field":    "X: " + strings.Repeat("x", 33<<10) + "\r\n",
		"many fields":     strings.Repeat("X: y\r\n", 201),
		"without any end": strings.Repeat("X: y\r\n", 7000),
	} {
		if got := r.says("GET / HTTP/1.1\r\nHost: demo.local\r\n" + fields + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
			t.Errorf("%s: %.40q, want 431", name, got)
		}
	}
}

// Under overload new connections get a fast answer, and the running ones theirs.
func TestUnderOverloadNewConnectionsAreTurnedAwayAtOnce(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Connections = 2 })
	release := make(chan struct{})
	r.serve(all(app(t, func(w http.ResponseWriter, _ *http.Request) { <-release; _, _ = io.WriteString(w, "done") })))
	running := make([]net.Conn, 2)
	for i := range running {
		running[i] = r.dial()
		if _, err := io.WriteString(running[i], getting("demo.local", "/")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are at work", func() bool { return r.server.Busy() == 2 })
	for range 20 {
		if got := r.says(getting("demo.local", "/")); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Retry-After: ") {
			t.Fatalf("%q, want 503", got)
		}
	}
	if f := r.server.Figures(); f.Refused != 20 || f.Accepted != 22 {
		t.Errorf("%d refused of %d, want 20 of 22", f.Refused, f.Accepted)
	}
	close(release)
	for _, c := range running {
		if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), "done") {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// endless is an app whose answer is longer than what all buffers of the kernel hold.
type endless struct {
	sent  atomic.Int64
	ended chan struct{}
}

// startEndless serves one request.
func startEndless(t *testing.T) (*endless, route.Upstream) {
	t.Helper()
	e := &endless{ended: make(chan struct{})}
	return e, route.Upstream{Name: "app", Endpoints: []route.Endpoint{{Addr: listen(t, e.serve)}}}
}

func (e *endless) serve(c net.Conn) {
	const much = 256 << 20
	defer close(e.ended)
	defer c.Close()
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", much)
	piece := bytes.Repeat([]byte{'x'}, 64<<10)
	for e.sent.Load() < much {
		n, err := c.Write(piece)
		if e.sent.Add(int64(n)); err != nil {
			return
		}
	}
}

// isGivenUp waits until the app's client is, who has read nothing.
func (e *endless) isGivenUp(t *testing.T, by *proxy.Server) {
	t.Helper()
	const most = 32 << 20 // more cannot be in the kernel's buffers
	select {
	case <-e.ended:
	case <-time.After(patience):
		t.Fatal("the client is never given up")
	}
	if n := e.sent.Load(); n > most {
		t.Errorf("%d bytes were taken from the app for a client that reads none", n)
	}
	eventually(t, "no buffer is held", func() bool { return by.Busy() == 0 })
}

// A client that does not read makes the app wait: the proxy holds a buffer, and
// not the answer, and gives up after a time.
func TestAClientThatDoesNotReadHoldsNoMemoryAndIsGivenUp(t *testing.T) {
	app, behind := startEndless(t)
	r := newRig(t, func(o *proxy.Options) { o.Limits.Send = time.Second })
	table := all()
	table.Upstreams[0] = behind
	r.serve(table)
	c := r.dial()
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, getting("demo.local", "/")); err != nil {
		t.Fatal(err)
	}
	app.isGivenUp(t, r.server)
}

// The same of a stream of HTTP/2, beside which others go on.
func TestAStreamThatIsNotReadHoldsNoMemoryAndIsGivenUp(t *testing.T) {
	unread, behind := startEndless(t)
	r := newRig(t, func(o *proxy.Options) { o.Limits.Send = time.Second })
	table, credentials := certified(t, app(t, echo), "a.test")
	behind.Name = "endless"
	table.Upstreams = append(table.Upstreams, behind)
	table.Hosts[0].Routes = append([]route.Route{{PathPrefix: "/endless", Forward: to("endless")}}, table.Hosts[0].Routes...)
	if err := r.server.Swap(table, credentials); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	ask := func(path string) *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.secureAddr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "a.test"
		answer, err := transport.RoundTrip(request)
		if err != nil || answer.ProtoMajor != 2 {
			t.Fatalf("%s: %v, %v", path, answer, err)
		}
		return answer
	}
	defer ask("/endless").Body.Close()
	unread.isGivenUp(t, r.server)
	answer := ask("/")
	defer answer.Body.Close()
	if content, err := io.ReadAll(answer.Body); err != nil || string(content) != "GET / " || r.server.Figures().Accepted != 1 {
		t.Errorf("another stream: %q, %v", content, err)
	}
}

// An app that does not read makes the client wait: the proxy holds buffers, and not
// the content.
func TestAnAppThatDoesNotReadHoldsNoMemory(t *testing.T) {
	const much, most = 256 << 20, 32 << 20 // more than most cannot be in the kernel's buffers
	gone := make(chan struct{})
	r := newRig(t, func(o *proxy.Options) { o.Limits.MaxBody, o.Limits.Answer = 0, 2*time.Second })
	table := all()
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: listen(t, func(c net.Conn) { <-gone; c.Close() })}}
	r.serve(table)
	defer close(gone)
	c := r.dial()
	if _, err := fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: %d\r\n\r\n", much); err != nil {
		t.Fatal(err)
	}
	piece, sent := bytes.Repeat([]byte{'x'}, 64<<10), 0
	for sent < much {
		n, err := c.Write(piece)
		if sent += n; err != nil {
			break
		}
	}
	if sent > most {
		t.Errorf("%d bytes were taken from the client for an app that reads none", sent)
	}
	eventually(t, "no buffer is held", func() bool { return r.server.Busy() == 0 })
}

func TestAWebsocketThatIsSilentForTooLongEnds(t *testing.T) {
	upgraded := listen(t, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, c)
	})
	r := newRig(t, func(o *proxy.Options) { o.Limits.Websocket = time.Second })
	table := all()
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: upgraded}}
	r.serve(table)
	got := r.says("GET /ws HTTP/1.1\r\nHost: demo.local\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "\r\n\r\nhello") {
		t.Errorf("%q", got)
	}
}

func TestOnlyATrustedProxysWordOfTheClientIsPassedOn(t *testing.T) {
	for network, want := range map[string]string{
		"127.0.0.0/8": "192.0.2.7, 127.0.0.1 192.0.2.7 https",
		"10.0.0.0/8":  "127.0.0.1 127.0.0.1 http",
	} {
		r := newRig(t, func(o *proxy.Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix(network)} })
		r.serve(all(app(t, func(w http.ResponseWriter, q *http.Request) {
			fmt.Fprint(w, strings.Join(q.Header["X-Forwarded-For"], "|"), " ", q.Header.Get("X-Real-Ip"), " ", q.Header.Get("X-Forwarded-Proto"))
		})))
		got := r.says("GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n")
		if !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%s: %q, want %q", network, got, want)
		}
	}
}
