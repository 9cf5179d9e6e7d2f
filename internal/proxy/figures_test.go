package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// eventually waits for what follows a request, such as the end of its exchange.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func getting(host, path string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host)
}

func figuresOf(f proxy.Figures, host, service string) proxy.RouteFigures {
	i := slices.IndexFunc(f.Routes, func(r proxy.RouteFigures) bool { return r.Host == host && r.Service == service })
	if i < 0 {
		return proxy.RouteFigures{}
	}
	return f.Routes[i]
}

func TestRequestsAreCountedByHostServiceAndStatus(t *testing.T) {
	r := newRig(t)
	table := all(app(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	table.Hosts[0].Routes[0].PathPrefix = "/"
	table.Hosts = append(table.Hosts, route.VirtualHost{Name: "*.wild.local", Routes: []route.Route{{PathPrefix: "/only", Forward: to("app")}}})
	r.serve(table)
	for _, sent := range []string{
		getting("demo.local", "/"), getting("demo.local", "/"), getting("DEMO.local", "/missing"),
		getting("a.wild.local", "/only"), getting("b.wild.local", "/other"), getting("evil.test", "/"), "nonsense\r\n\r\n",
	} {
		r.says(sent)
	}
	var f proxy.Figures
	eventually(t, "all requests are counted", func() bool {
		f = r.server.Figures()
		n := uint64(0)
		for _, route := range f.Routes {
			for _, class := range route.Classes {
				n += class
			}
		}
		return n == 7
	})
	for _, want := range []struct {
		host, service string
		classes       [6]uint64
	}{
		{"", "", [6]uint64{4: 1, 5: 1}},
		{"*.wild.local", "", [6]uint64{5: 1}},
		{"*.wild.local", "app", [6]uint64{2: 1}},
		{"demo.local", "app", [6]uint64{2: 2, 4: 1}},
	} {
		got := figuresOf(f, want.host, want.service)
		timed := uint64(0)
		for _, n := range got.Took.Counts {
			timed += n
		}
		if all := got.Classes[2] + got.Classes[4] + got.Classes[5]; got.Classes != want.classes || timed != all || got.Sent == 0 || got.Received == 0 || got.Running != 0 {
			t.Errorf("%q, %q: %+v, want %v", want.host, want.service, got, want.classes)
		}
	}
	if len(f.Routes) != 4 {
		t.Errorf("what clients send adds figures: %+v", f.Routes)
	}
	if f.Accepted != 7 || f.Refused != 0 || f.Swaps.Counts == nil || f.Served.Generation != 1 || f.Served.Version != table.Version() {
		t.Errorf("got %+v", f)
	}
}

func TestCountsOutliveTheTableAndGoWithTheirHost(t *testing.T) {
	r := newRig(t)
	backend := app(t, echo)
	table := all(backend)
	r.serve(table)
	r.says(getting("demo.local", "/"))
	answered := func() uint64 { return figuresOf(r.server.Figures(), "demo.local", "app").Classes[2] }
	eventually(t, "the request is counted", func() bool { return answered() == 1 })
	next := all(backend)
	next.Hosts = append(next.Hosts, route.VirtualHost{Name: "new.local", Routes: next.Hosts[0].Routes})
	r.serve(next)
	if n := answered(); n != 1 {
		t.Errorf("%d after a swap, want 1", n)
	}
	next = all(backend)
	next.Hosts[0].Name = "new.local"
	r.serve(next)
	if f := r.server.Figures(); answered() != 0 || len(f.Routes) != 1 {
		t.Errorf("of a host that has gone there is still %+v", f.Routes)
	}
}

// A request that is on its way shows, and so does the endpoint that it is at.
func TestWhatIsInFlightShows(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	backend := app(t, func(http.ResponseWriter, *http.Request) { <-release })
	table := all(backend)
	r.serve(table)
	c := r.dial()
	if _, err := io.WriteString(c, getting("demo.local", "/")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is in flight", func() bool {
		f := r.server.Figures()
		return figuresOf(f, "demo.local", "app").Running == 1 && f.Open == 1 && f.UpstreamOpen == 1 && f.UpstreamIdle == 0
	})
	described := func() string {
		var text strings.Builder
		if err := r.server.Describe(&text); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	addr := backend.Listener.Addr().String()
	if got, want := described(), addr+": 1 in flight, 0 idle connections\n"; !strings.Contains(got, want) {
		t.Errorf("%q is not in:\n%s", want, got)
	}
	empty := all()
	r.serve(empty)
	if got, want := described(), "drained, and still working\n  "+addr+" of app: 1 in flight"; !strings.Contains(got, want) {
		t.Errorf("%q is not in:\n%s", want, got)
	}
	close(release)
	eventually(t, "nothing is in flight", func() bool {
		f := r.server.Figures()
		return figuresOf(f, "demo.local", "app").Running == 0 && f.Open == 0 && f.UpstreamOpen == 0
	})
	eventually(t, "the endpoint is forgotten", func() bool { return !strings.Contains(described(), addr) })
}

func TestRetriesAndEjectionsAreCountedAndShow(t *testing.T) {
	r := newRig(t)
	gone := listen(t, func(c net.Conn) { c.Close() })
	table := all(app(t, echo))
	table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: gone})
	r.serve(table)
	for range 4 {
		r.says(getting("demo.local", "/"))
	}
	var f proxy.Figures
	eventually(t, "all is counted", func() bool {
		f = r.server.Figures()
		return figuresOf(f, "demo.local", "app").Classes[2] == 4
	})
	if got := figuresOf(f, "demo.local", "app"); got.Retries != 1 || got.Ejections != 1 {
		t.Errorf("%d retries, %d ejections; want one each", got.Retries, got.Ejections)
	}
	if want := []proxy.ServiceFigures{{Name: "app", Ready: 1, Aside: 1}}; !slices.Equal(f.Services, want) {
		t.Errorf("got %+v, want %+v", f.Services, want)
	}
	var text strings.Builder
	if err := r.server.Describe(&text); err != nil || !strings.Contains(text.String(), gone.String()+": 0 in flight, 0 idle connections, set aside for ") {
		t.Errorf("%v, got:\n%s", err, text.String())
	}
}

func TestTheTableIsDescribedForPeople(t *testing.T) {
	r := newRig(t)
	describe := func() string {
		var text strings.Builder
		if err := r.server.Describe(&text); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	if got := describe(); got != "no table is served yet\n" {
		t.Errorf("got %q", got)
	}
	table, _ := certified(t, app(t, echo), "a.test")
	table.Hosts[0].Routes = []route.Route{
		{PathPrefix: "/x\n", Rewrite: true, TLSOnly: true, Websockets: []string{"/x/ws"}, Forward: route.Forward{Upstreams: []string{"app"}, Affinity: route.Affinity{Cookie: "session"}}},
		{PathPrefix: "/", Forward: to("app")},
	}
	table.Hosts = append(table.Hosts, route.VirtualHost{Name: "b.test", Redirects: []route.Redirect{{Scheme: "http", Target: "https://a.test"}}})
	table.Passthrough = []route.Passthrough{{Name: "db.test", Forward: to("app")}}
	for i := range 1200 {
		table.Upstreams = append(table.Upstreams, route.Upstream{Name: fmt.Sprintf("more-%04d", i)})
	}
	r.serve(table)
	got := describe()
	since := r.server.Served().Since.UTC().Format(time.RFC3339)
	want := "table " + table.Version() + ", number 1, since " + since + `
2 hosts, 1 passed through, 1201 services
host a.test, no TLS as its certificate is not at hand
  "/x\n" to app, by the cookie session, rewritten to /, over TLS only, websockets at /x/ws
  / to app
host b.test
  all of http is redirected to https://a.test
host db.test, TLS passed through to app
service app
  ` + table.Upstreams[0].Endpoints[0].Addr.String() + `: 0 in flight, 0 idle connections
service more-0000
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%.1000s\nwant:\n%s", got, want)
	}
	if end := "service more-0998\nand 201 more services\n"; !strings.HasSuffix(got, end) {
		t.Errorf("it ends with %q, want %q", got[len(got)-100:], end)
	}
}
