package nginx_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

// upstream is a named pool of apps.
func upstream(name string, apps ...*httptest.Server) route.Upstream {
	u := route.Upstream{Name: name}
	for _, app := range apps {
		u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(app.Listener.Addr().String())})
	}
	return u
}

func to(upstreams ...string) route.Forward { return route.Forward{Upstreams: upstreams} }

// demo is a table of demo.local alone.
func demo(routes []route.Route, upstreams ...route.Upstream) *route.Table {
	return &route.Table{Hosts: []route.VirtualHost{{Name: "demo.local", Routes: routes}}, Upstreams: upstreams}
}

// serve has nginx serve a table.
func (r *rig) serve(table *route.Table, config map[string]any) {
	r.t.Helper()
	r.apply(r.render(r.port, table, config))
}

// send sends a request as it is written and follows no redirect. With it go
// headers, and as "from" the client's address.
func (r *rig) send(host, path string, with map[string]string) (answer, error) {
	dialer := net.Dialer{}
	if from := with["from"]; from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d", r.port), nil)
	if err != nil {
		return answer{}, err
	}
	// As it stands: net/url would write escapes its own way.
	path, query, _ := strings.Cut(path, "?")
	request.URL.Opaque, request.URL.RawQuery = path, query
	request.Host = host
	for name, value := range with {
		if name != "from" {
			request.Header.Set(name, value)
		}
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(body), response.Header}, err
}

// sees answers its name and the request line's target, byte for byte.
func sees(t *testing.T, name string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprintf(w, "%s %s", name, q.RequestURI)
	}))
	t.Cleanup(server.Close)
	return server
}

// headersOf returns the headers that an app sees, Host among them.
func (r *rig) headersOf(path string, with map[string]string) http.Header {
	r.t.Helper()
	got, err := r.send("demo.local", path, with)
	header := http.Header{}
	if err == nil {
		err = json.Unmarshal([]byte(got.body), &header)
	}
	if err != nil {
		r.t.Fatalf("%s: %+v, %v", path, got, err)
	}
	return header
}

func showsHeaders(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		q.Header.Set("Host", q.Host)
		if err := json.NewEncoder(w).Encode(q.Header); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAnOperatorsHeaderIsSentInPlaceOfOurs(t *testing.T) {
	r := newRig(t)
	r.serve(demo([]route.Route{{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")}}, upstream("app", showsHeaders(t))), map[string]any{
		"HTTPOptions": []any{"proxy_set_header X-Forwarded-Proto https; proxy_set_header  host inner.local", "proxy_set_header Upgrade $http_upgrade"},
	})
	for _, path := range []string{"/", "/ws"} {
		header := r.headersOf(path, map[string]string{"X-Forwarded-Proto": "the client's own"})
		for name, want := range map[string]string{"X-Forwarded-Proto": "https", "Host": "inner.local", "X-Real-Ip": "127.0.0.1"} {
			if got := header[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: the app sees %s: %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestTLSToTheTaskIsSpokenAndVerifiedAsAsked(t *testing.T) {
	r := newRig(t)
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, "over TLS, asked for ", q.TLS.ServerName) }))
	t.Cleanup(app.Close)
	authorities := r.path("authorities.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw})
	if err := os.WriteFile(authorities, data, 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := map[string]any{"HTTPOptions": []any{"proxy_ssl_trusted_certificate " + authorities + ";"}}
	named := map[string]any{"SSLBackendAuthorities": string(data)}
	// Go's test certificate is for example.com and names below it.
	table := func(verify route.Verify) *route.Table {
		u, plain := upstream("app", app), upstream("plain", sees(t, "plain"))
		u.TLS, plain.TLS = &route.TLS{Verify: verify}, &route.TLS{Verify: route.VerifyNone}
		routes := []route.Route{{PathPrefix: "/", Forward: to("app")}}
		return &route.Table{
			Hosts: []route.VirtualHost{
				{Name: "example.com", Routes: routes},
				{Name: "*.example.com", Routes: routes},
				{Name: "*.local", Routes: routes},
				{Name: "other.local", Routes: routes},
				{Name: "plain.local", Routes: []route.Route{{PathPrefix: "/", Forward: to("plain")}}},
			},
			Upstreams: []route.Upstream{u, plain},
		}
	}
	for _, test := range []struct {
		verify       route.Verify
		config       map[string]any
		named, other int
	}{
		{route.VerifyNone, nil, 200, 200},
		{route.VerifyRequired, trusting, 200, 502},
		{route.VerifyRequired, named, 200, 502},
		{route.VerifyRequired, nil, 502, 502},
		{route.VerifyDefault, trusting, 200, 502},
		{route.VerifyDefault, map[string]any{"SSLVerify": "none"}, 200, 200},
	} {
		r.serve(table(test.verify), test.config)
		// One after the other: a connection for one name is none for another.
		for range 3 {
			for _, of := range []struct {
				host string
				want int
			}{
				{"example.com", test.named},
				{"other.local", test.other},
				{"www.example.com", test.named},
				{"any.local", test.other},
				{"plain.local", 502},
			} {
				got, err := r.send(of.host, "/", nil)
				if err != nil || got.status != of.want || of.want == 200 && got.body != "over TLS, asked for "+of.host {
					t.Errorf("verify %q, %v, %s: %+v, %v; want %d", test.verify, test.config, of.host, got, err, of.want)
				}
			}
		}
	}
}

func TestTheSessionsOfManyTLSTasksFitIntoTheirZone(t *testing.T) {
	r := newRig(t)
	u := route.Upstream{Name: "app", TLS: &route.TLS{Verify: route.VerifyNone}}
	const tasks = 40
	for range tasks {
		app := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(app.Close)
		u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(app.Listener.Addr().String())})
	}
	r.serve(demo([]route.Route{{PathPrefix: "/", Forward: to("app")}}, u), nil)
	for range 2 * tasks {
		if got, err := r.send("demo.local", "/", nil); err != nil || got.status != http.StatusOK {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	log, err := os.ReadFile(r.path("error.log"))
	if err != nil || strings.Contains(string(log), "no memory") {
		t.Errorf("%.1000s, %v", log, err)
	}
}
