package proxy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/interlock-lb/interlock/internal/probe"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// refusing is an address that nobody listens on.
func refusing(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// with is a table of one service with more endpoints.
func with(table *route.Table, more ...netip.AddrPort) *route.Table {
	for _, addr := range more {
		table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: addr})
	}
	return table
}

// posts sends requests that may not be repeated, each of which must be answered.
func (r *rig) posts(n int) {
	r.t.Helper()
	for range n {
		got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			r.t.Fatalf("%.200q", got)
		}
	}
}

// health waits until so many endpoints of the service take requests, and so many
// are set aside.
func (r *rig) health(ready, aside int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d endpoints are ready and %d set aside", ready, aside), func() bool {
		f := r.server.Figures().Services
		return len(f) == 1 && f[0].Ready == ready && f[0].Aside == aside
	})
}

func (r *rig) retries() uint64 { return figuresOf(r.server.Figures(), "demo.local", "app").Retries }

// The address is of this test alone as long as the port that the kernel has given
// is not given again, which it does last.
func TestAnEndpointThatRefusesIsProbedAndComesBackByItself(t *testing.T) {
	r := newRig(t)
	addr := refusing(t)
	r.serve(with(all(app(t, echo)), addr))
	r.posts(10)
	if n := r.retries(); n != 1 {
		t.Errorf("%d requests found out that an endpoint refuses connections, want one", n)
	}
	r.health(1, 1)
	listener, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Skipf("somebody else has the port: %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(echo)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	r.health(2, 0)
	r.posts(10)
	if n := r.retries(); n != 1 {
		t.Errorf("%d requests were tried twice, want one", n)
	}
}

func TestAnEndpointThatJoinsOthersIsProbedBeforeAnyRequest(t *testing.T) {
	r := newRig(t)
	first := app(t, echo)
	r.serve(all(first))
	r.posts(2)
	addr := refusing(t)
	r.serve(with(all(first), addr))
	r.posts(10)
	if n := r.retries(); n != 0 {
		t.Errorf("%d requests were tried at an endpoint that has just joined, and refuses connections", n)
	}
	r.health(1, 1)
	second := app(t, echo)
	r.serve(all(first, second))
	r.health(2, 0)
}

// Even one that is never set aside for its failures.
func TestAnEndpointThatJoinsOthersIsProbedWhateverItsHealthCheckIs(t *testing.T) {
	r := newRig(t)
	first := app(t, echo)
	table := func(more ...netip.AddrPort) *route.Table {
		t := with(all(first), more...)
		t.Upstreams[0].MaxFails = new(0)
		return t
	}
	r.serve(table())
	r.posts(2)
	r.serve(table(refusing(t)))
	r.posts(10)
	if n := r.retries(); n != 0 {
		t.Errorf("%d requests were tried at an endpoint that has just joined, and refuses connections", n)
	}
	r.health(1, 1)
}

func TestAnEndpointThatTookAConnectionJustNowIsUsedAsItJoinsOthers(t *testing.T) {
	second := app(t, echo)
	r := newRig(t, func(o *proxy.Options) {
		o.Accepts = func(context.Context, netip.AddrPort) bool { return false }
		o.Accepted = func(addr netip.AddrPort) bool { return addr == addressOf(second) }
	})
	first := app(t, echo)
	r.serve(all(first))
	r.posts(2)
	r.serve(all(first, second, app(t, echo)))
	r.health(2, 1)
}

// One that did and does not any more is found out by a request, and probed.
func TestAnEndpointThatTookAConnectionJustNowIsSetAsideAllTheSame(t *testing.T) {
	addr := refusing(t)
	r := newRig(t, func(o *proxy.Options) { o.Accepted = func(netip.AddrPort) bool { return true } })
	first := app(t, echo)
	r.serve(all(first))
	r.posts(2)
	r.serve(with(all(first), addr))
	r.posts(10)
	if n := r.retries(); n != 1 {
		t.Errorf("%d requests found out that an endpoint refuses connections, want one", n)
	}
	r.health(1, 1)
}

// Docker's proxy for published ports accepts connections for a container that does
// not, and closes them.
func TestAnEndpointWhoseConnectionsDoNotStandGetsNoRequest(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Accepts = probe.Accepts })
	first := app(t, echo)
	r.serve(all(first))
	r.posts(2)
	var connected atomic.Int64
	r.serve(with(all(first), listen(t, func(c net.Conn) { connected.Add(1); c.Close() })))
	eventually(t, "it is probed again and again", func() bool { return connected.Load() > 2 })
	r.health(1, 1)
	r.posts(10)
	if n := r.retries(); n != 0 {
		t.Errorf("%d requests were tried at an endpoint that nobody listens behind", n)
	}
	r.serve(all(first, app(t, echo)))
	r.health(2, 0)
}

// Whoever wants no health checks has none: it is asked each time.
func TestAnEndpointThatIsNeverSetAsideIsAskedEachTime(t *testing.T) {
	r := newRig(t)
	table := with(all(app(t, echo)), refusing(t))
	table.Upstreams[0].MaxFails = new(0)
	r.serve(table)
	r.posts(10)
	if n := r.retries(); n < 4 {
		t.Errorf("of 10 requests %d were tried at the endpoint that refuses connections", n)
	}
	r.health(2, 0)
}

// The one endpoint of a service is asked, whatever is known of it.
func TestADoubtfulEndpointIsBetterThanNone(t *testing.T) {
	r := newRig(t)
	var asked atomic.Int64
	flaky := listen(t, func(c net.Conn) {
		defer c.Close()
		if b := make([]byte, 4096); asked.Add(1) > 1 {
			if _, err := c.Read(b); err == nil {
				says(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	})
	r.serve(with(all(), flaky))
	if got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%.200q", got)
	}
	r.health(0, 1)
	r.posts(1)
}
