package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// certified is a table of hosts with a certificate each, and those.
func certified(t *testing.T, to *httptest.Server, hosts ...string) (*route.Table, render.Credentials) {
	t.Helper()
	authority, credentials := fixture.NewAuthority(t), make(render.Credentials)
	table := &route.Table{Upstreams: []route.Upstream{{Name: "app", Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort(to.Listener.Addr().String())}}}}}
	for _, name := range hosts {
		chain, key := authority.Issue(t, []string{name})
		credentials[name] = render.Pair{Chain: chain, Key: key}
		secret := route.Material{Name: name, ID: "id"}
		table.Hosts = append(table.Hosts, route.VirtualHost{
			Name: name, Credential: &route.Credential{Chain: secret, Key: secret},
			Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}},
		})
	}
	return table, credentials
}

// anySession offers the last session to whoever it is.
type anySession struct{ last *tls.ClientSessionState }

func (a *anySession) Get(string) (*tls.ClientSessionState, bool) { return a.last, a.last != nil }

func (a *anySession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		a.last = s
	}
}

func TestASessionIsResumedForItsOwnCertificateOnly(t *testing.T) {
	r := newRig(t)
	table, credentials := certified(t, app(t, func(http.ResponseWriter, *http.Request) {}), "a.test", "b.test")
	for round, again := range []string{"", "after a swap, "} {
		swapped := *table
		if round > 0 {
			swapped.Default = table.Hosts[0].Routes
		}
		if err := r.server.Swap(&swapped, credentials); err != nil {
			t.Fatal(err)
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			var session anySession
			for _, c := range []struct {
				name    string
				resumed bool
			}{{"a.test", false}, {"a.test", true}, {"b.test", false}} {
				connection, err := tls.Dial("tcp", r.secureAddr, &tls.Config{
					ServerName: c.name, InsecureSkipVerify: true, ClientSessionCache: &session, MaxVersion: version,
				})
				if err != nil {
					t.Fatal(err)
				}
				// The ticket comes with the first answer in TLS 1.3.
				fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", c.name)
				if _, err := io.Copy(io.Discard, bufio.NewReader(connection)); err != nil {
					t.Fatal(err)
				}
				if got := connection.ConnectionState().DidResume; got != c.resumed {
					t.Errorf("%sversion %#x, %s: resumed is %v", again, version, c.name, got)
				}
				connection.Close()
			}
		}
	}
}

func TestWhoIsTooSlowToGreetOverTLSIsLeft(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Header = short })
	for name, sent := range map[string]string{"nothing": "", "half a greeting": "\x16\x03\x01\x02\x00\x01\x00"} {
		c, err := net.Dial("tcp", r.secureAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is waited behind for ever", name)
		}
	}
}

// Over TLS nobody can be told in words without a handshake, which costs most of all.
func TestUnderOverloadNewConnectionsOverTLSEndAtOnce(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Connections = 1 })
	table, credentials := certified(t, app(t, echo), "a.test")
	if err := r.server.Swap(table, credentials); err != nil {
		t.Fatal(err)
	}
	dial := func() (*tls.Conn, error) {
		return tls.Dial("tcp", r.secureAddr, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	}
	first, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for range 10 {
		if c, err := dial(); err == nil {
			c.Close()
			t.Fatal("one too many is served")
		}
	}
	if _, err := io.WriteString(first, getting("a.test", "/")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(first); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWithAddressHashAClientStaysWithItsTask(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.AddressHash = true })
	table := &route.Table{
		Hosts:     []route.VirtualHost{{Name: "demo.local", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}}}},
		Upstreams: []route.Upstream{{Name: "app"}},
	}
	for i := range 4 {
		one := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) })
		table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(one.Listener.Addr().String())})
	}
	r.serve(table)
	seen := make(map[string]bool)
	for range 8 {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "demo.local"
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		seen[string(body)] = true
	}
	if len(seen) != 1 {
		t.Errorf("one client came to %d tasks", len(seen))
	}
}
