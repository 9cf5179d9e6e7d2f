package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

const short = 200 * time.Millisecond

func TestWhoIsTooSlowIsToldSo(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Header, o.Limits.Body, o.Limits.Idle = short, short, patience })
	r.serve(all(app(t, echo)))
	for name, sent := range map[string]string{
		"a head":              "GET / HTTP/1.1\r\nHost: demo.local\r\n",
		"short content":       "POST / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 10\r\n\r\nhello",
		"content in chunks":   "POST / HTTP/1.1\r\nHost: demo.local\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"long content":        "POST / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 100000\r\n\r\nhello",
		"a head behind a GET": "GET / HTTP/1.1\r\nHost: demo.local\r\n\r\nGET",
	} {
		if got := r.says(sent); !strings.Contains(got, "HTTP/1.1 408 ") {
			t.Errorf("%s: %q, want 408", name, got)
		}
	}
}

func TestAnIdleConnectionEndsWithoutAWord(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Idle = short })
	if got := r.says(""); got != "" {
		t.Errorf("%q", got)
	}
}

func TestAnAppThatDoesNotAnswerIsGivenUp(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Answer = short })
	release := make(chan struct{})
	defer close(release)
	r.serve(all(app(t, func(http.ResponseWriter, *http.Request) { <-release })))
	if got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Errorf("%q, want 504", got)
	}
}

func TestContentThatIsTooLongIsRefused(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.MaxBody = 1000 })
	r.serve(all(app(t, echo)))
	long := strings.Repeat("x", 1001)
	for name, sent := range map[string]string{
		"counted":                  "Content-Length: 1001\r\n\r\n" + long,
		"announced only":           "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
		"chunked":                  "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + long + "\r\n0\r\n\r\n",
		"chunked, without an end":  "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + long,
		"chunked, in small chunks": "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 1001) + "0\r\n\r\n",
	} {
		if got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\n" + sent); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
			t.Errorf("%s: %q, want 413", name, got)
		}
	}
	if got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + long[:1000]); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("just as long as allowed: %q", got)
	}
}

func TestOneClientTooManyIsTurnedAwayAndTheOthersAreServed(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.ConnectionsPerAddress = 1 })
	r.serve(all(app(t, echo)))
	first := r.dial()
	request := []byte("GET / HTTP/1.1\r\nHost: demo.local\r\n\r\n")
	answered := func() {
		t.Helper()
		b := make([]byte, 4096)
		if _, err := first.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := first.Read(b); err != nil || !bytes.HasPrefix(b[:n], []byte("HTTP/1.1 200 ")) {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	answered()
	if got := r.says(string(request)); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.HasSuffix(got, "Too many connections.\n") {
		t.Errorf("%q, want 503", got)
	}
	answered()
}

func TestOneAddressThatHasTooManyTakesNothingFromAnother(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.ConnectionsPerAddress = 2 })
	r.serve(all(app(t, echo)))
	for range 2 {
		r.dial()
	}
	eventually(t, "both are there", func() bool { return r.server.Figures().Open == 2 })
	for address, want := range map[string]string{"127.0.0.1": "HTTP/1.1 503 ", "127.0.0.2": "HTTP/1.1 200 "} {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		c, err := dialer.DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, getting("demo.local", "/")); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

func TestAConnectionServesOnlySoManyRequests(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Requests = 3 })
	r.serve(all(app(t, echo)))
	got := r.says(strings.Repeat("GET / HTTP/1.1\r\nHost: demo.local\r\n\r\n", 5))
	if strings.Count(got, "HTTP/1.1 200 ") != 3 || strings.Count(got, "Connection: close") != 1 {
		t.Errorf("%q", got)
	}
}

func TestAClientThatWaitsForContinueGetsIt(t *testing.T) {
	r := newRig(t)
	r.serve(all(app(t, echo)))
	c := r.dial()
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	const want = "HTTP/1.1 100 Continue\r\n\r\n"
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), "POST / hello") {
		t.Errorf("%q, %v", got, err)
	}
}

// An endpoint that fails is left alone for its time, and then tried again.
func TestAFailingEndpointIsSetAsideAndTriedAgain(t *testing.T) {
	var failing atomic.Bool
	var asked atomic.Int64
	failing.Store(true)
	flaky := listen(t, func(c net.Conn) {
		defer c.Close()
		asked.Add(1)
		if !failing.Load() {
			b := make([]byte, 4096)
			for {
				if _, err := c.Read(b); err != nil || !says(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nflaky") {
					return
				}
			}
		}
	})
	r := newRig(t)
	table := all(app(t, echo))
	table.Upstreams[0].FailTimeout = time.Second
	table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: flaky})
	r.serve(table)
	get := func() string {
		return r.says("GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n")
	}
	for range 10 {
		if got := get(); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Fatalf("%q", got)
		}
	}
	if n := asked.Load(); n > 2 {
		t.Errorf("of 10 requests %d were tried at an endpoint that failed the first", n)
	}
	failing.Store(false)
	for deadline := time.Now().Add(patience); !strings.HasSuffix(get(), "flaky"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the endpoint is never tried again")
		}
	}
}

// A request that an app may have acted upon is not sent to another.
func TestWhatMayNotBeRepeatedIsSentOnce(t *testing.T) {
	var asked atomic.Int64
	closes := func(c net.Conn) {
		defer c.Close()
		if n, err := c.Read(make([]byte, 4096)); n > 0 && err == nil {
			asked.Add(1)
		}
	}
	table := all()
	for range 3 {
		table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: listen(t, closes)})
	}
	r := newRig(t)
	r.serve(table)
	for method, want := range map[string]int64{"POST": 1, "PATCH": 1, "FOO": 1, "GET": 3, "PUT": 3} {
		asked.Store(0)
		got := r.says(fmt.Sprintf("%s / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", method))
		if n := asked.Load(); n != want || !strings.HasPrefix(got, "HTTP/1.1 502 ") {
			t.Errorf("%s was sent %d times, want %d: %.40q", method, n, want, got)
		}
	}
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestEveryRequestIsLoggedAndCannotForgeALine(t *testing.T) {
	log := &lines{}
	r := newRig(t, func(o *proxy.Options) { o.AccessLog = log })
	backend := app(t, echo)
	r.serve(all(backend))
	r.says("POST /x?y HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nUser-Agent: a\" \\\xff\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000))
	for deadline := time.Now().Add(patience); !strings.HasSuffix(log.String(), "\n"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is logged")
		}
	}
	got := log.String()
	addr := netip.MustParseAddrPort(backend.Listener.Addr().String())
	for _, want := range []string{`"POST /x?y HTTP/1.1" 200 100`, `"a\x22 \x5C\xFF"`, `host="demo.local"`, fmt.Sprintf("upstream=%q", addr)} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}
