package nginx_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/label"
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

func (r *rig) sendsTo(path, want string) {
	r.t.Helper()
	got, err := r.send("demo.local", path, nil)
	if err != nil || got.body != want {
		r.t.Errorf("%s: %q, %v; want %q", path, got.body, err, want)
	}
	for _, name := range []string{"X-Request-Id", "X-Proxy-Id", "X-Server-Info"} {
		if len(got.header[name]) != 1 {
			r.t.Errorf("%s: the header %s is there %d times", path, name, len(got.header[name]))
		}
	}
}

func TestAHostIsSplitByPathAndTheLongestRootWins(t *testing.T) {
	r := newRig(t)
	r.serve(demo([]route.Route{
		{PathPrefix: "/app/deep", Forward: to("deep")}, {PathPrefix: "/app", Forward: to("app")}, {PathPrefix: "/", Forward: to("site")},
	}, upstream("app", sees(t, "app")), upstream("deep", sees(t, "deep")), upstream("site", sees(t, "site"))), nil)
	for path, want := range map[string]string{
		"/": "site /", "/apple": "site /apple", "/app": "app /app", "/app/": "app /app/", "/app/x?q=1": "app /app/x?q=1",
		"/app/deeper": "app /app/deeper", "/app/deep": "deep /app/deep", "/app/deep/y": "deep /app/deep/y",
		"/app/a%2Fb%20c": "app /app/a%2Fb%20c", "/app//x": "app /app//x", "/APP": "site /APP", "/app/../x": "site /app/../x", "/app/%2e%2e/x": "site /app/%2e%2e/x",
	} {
		r.sendsTo(path, want)
	}
	if got, err := r.send("DEMO.local.", "/app", nil); err != nil || got.body != "app /app" {
		t.Errorf("a name in capitals with a dot at its end: %+v, %v", got, err)
	}
}

// longestPath is the longest context root that a service may ask for.
func longestPath() string {
	path := "/-"
	for {
		_, _, faults := label.Parse(map[string]string{label.Prefix + "context_root": path + "-"})
		if len(faults) > 0 {
			return path
		}
		path += "-"
	}
}

// nginx -t sees nothing wrong with a path that is too long, which would take
// all requests of the host.
func TestTheLongestPathTakesItsOwnRequestsOnly(t *testing.T) {
	r := newRig(t)
	longest := longestPath()
	for _, rewrite := range []bool{false, true} {
		r.serve(demo([]route.Route{
			{PathPrefix: longest, Rewrite: rewrite, Websockets: []string{longest}, Forward: to("long")}, {PathPrefix: "/", Forward: to("site")},
		}, upstream("long", sees(t, "long")), upstream("site", sees(t, "site"))), nil)
		below := longest + "/x"
		if rewrite {
			below = "/x"
		}
		for path, want := range map[string]string{
			"/": "site /", "/x": "site /x", longest + "-": "site " + longest + "-", longest[:len(longest)-1]: "site " + longest[:len(longest)-1], longest + "/x": "long " + below,
		} {
			r.sendsTo(path, want)
		}
	}
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

func TestARequestWithoutAHostReachesTheDefaultService(t *testing.T) {
	r := newRig(t)
	table := &route.Table{Default: []route.Route{{PathPrefix: "/", Forward: to("app")}}, Upstreams: []route.Upstream{upstream("app", showsHeaders(t))}}
	r.serve(table, nil)
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The app refuses a request of HTTP/1.1 without a host.
	got, err := io.ReadAll(connection)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestARewrittenRootIsNotSeenByTheApp(t *testing.T) {
	r := newRig(t)
	r.serve(demo([]route.Route{{PathPrefix: "/app", Rewrite: true, Websockets: []string{"/app/ws"}, Forward: to("app")}}, upstream("app", sees(t, "app"))), nil)
	for path, want := range map[string]string{
		"/app/": "app /", "/app/x?q=%2F": "app /x?q=%2F", "/app/app/x": "app /app/x", "/app/ws": "app /ws", "/app/ws/1": "app /ws/1",
		"/app/a%20b": "app /a%20b", "/app/a%3Fb": "app /a%3Fb", "/app/a%23b": "app /a%23b", "/app/%25": "app /%25", "/app/%C3%A9": "app /%C3%A9",
		"/app/$1;'\"": "app /$1;'\"", "/app//x": "app /x", "/app/a%2Fb": "app /a/b",
	} {
		r.sendsTo(path, want)
	}
	for path, want := range map[string]string{"/app": "/app/", "/app?a=b%20c&d": "/app/?a=b%20c&d"} {
		got, err := r.send("demo.local", path, nil)
		if err != nil || got.status != http.StatusFound || got.header.Get("Location") != want {
			t.Errorf("%s: %d to %q, %v; want 302 to %q", path, got.status, got.header.Get("Location"), err, want)
		}
	}
	for _, path := range []string{"/", "/apple", "/app/..%2fx", "/app/%2e%2e/x"} {
		if got, err := r.send("demo.local", path, nil); err != nil || got.status != http.StatusServiceUnavailable {
			t.Errorf("%s, which is outside of the root: %+v, %v", path, got, err)
		}
	}
}

func TestARedirectKeepsPathAndQuery(t *testing.T) {
	r := newRig(t)
	table := demo([]route.Route{{PathPrefix: "/", Forward: to("app")}}, upstream("app", sees(t, "app")))
	table.Hosts = append(table.Hosts, route.VirtualHost{Name: "old.local", Redirects: []route.Redirect{{Scheme: "http", Target: "https://new.local:8443"}}})
	r.serve(table, nil)
	for _, path := range []string{"/", "/a%2Fb/%20?q=1&r=%24x", "/x//evil.local/", "/$http_cookie"} {
		got, err := r.send("old.local", path, map[string]string{"Cookie": "secret=1"})
		if want := "https://new.local:8443" + path; err != nil || got.status != http.StatusFound || got.header.Get("Location") != want {
			t.Errorf("%s: %d to %q, %v; want 302 to %q", path, got.status, got.header.Get("Location"), err, want)
		}
	}
	r.sendsTo("/x", "app /x")
}

// spread counts which apps answer n requests.
func (r *rig) spread(n int, with func(i int) map[string]string) map[string]int {
	r.t.Helper()
	counts := map[string]int{}
	for i := range n {
		got, err := r.send("demo.local", "/", with(i))
		if err != nil || got.status != http.StatusOK {
			r.t.Fatalf("request %d: %+v, %v", i, got, err)
		}
		counts[got.body]++
	}
	return counts
}

func fourApps(t *testing.T) route.Upstream {
	t.Helper()
	return upstream("app", sees(t, "1"), sees(t, "2"), sees(t, "3"), sees(t, "4"))
}

func TestTheSameCookieGoesToTheSameTask(t *testing.T) {
	r := newRig(t)
	forward := to("app")
	forward.Affinity.Cookie = "session"
	r.serve(demo([]route.Route{{PathPrefix: "/", Forward: forward}}, fourApps(t)), nil)
	tasks := map[string]bool{}
	for value := range 20 {
		counts := r.spread(5, func(int) map[string]string {
			return map[string]string{"Cookie": fmt.Sprintf("other=x; session=v%d", value)}
		})
		if len(counts) != 1 {
			t.Errorf("the cookie's value v%d went to several tasks: %v", value, counts)
		}
		for task := range counts {
			tasks[task] = true
		}
	}
	if len(tasks) < 2 {
		t.Errorf("20 values went to %d tasks", len(tasks))
	}
	if counts := r.spread(100, func(int) map[string]string { return nil }); len(counts) != 4 {
		t.Errorf("without a cookie 100 requests went to %v, want all four tasks", counts)
	}
}

func TestTheSameClientAddressGoesToTheSameTask(t *testing.T) {
	r := newRig(t)
	forward := to("app")
	forward.Affinity.ClientAddress = true
	r.serve(demo([]route.Route{{PathPrefix: "/", Forward: forward}}, fourApps(t)), nil)
	tasks := map[string]bool{}
	for address := range 20 {
		counts := r.spread(5, func(int) map[string]string { return map[string]string{"from": fmt.Sprintf("127.0.0.%d", address+1)} })
		if len(counts) != 1 {
			t.Errorf("one address went to several tasks: %v", counts)
		}
		for task := range counts {
			tasks[task] = true
		}
	}
	if len(tasks) < 2 {
		t.Errorf("20 addresses went to %d tasks", len(tasks))
	}
}

func TestACanaryGetsItsShareByNumberOfTasks(t *testing.T) {
	r := newRig(t)
	v1, v2 := fourApps(t), upstream("canary", sees(t, "canary"))
	v1.MaxFails, v2.FailTimeout = new(3), 10*time.Second
	r.serve(demo([]route.Route{{PathPrefix: "/", Forward: to("app", "canary")}}, v1, v2), nil)
	const requests = 10_000
	address := fmt.Sprintf("http://127.0.0.1:%d/", r.port)
	client := http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	share := 0.0
	for range requests {
		request, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "demo.local"
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if string(body) == "canary /" {
			share += 100.0 / requests
		}
	}
	if math.Abs(share-20) > 3 {
		t.Errorf("the canary got %.1f %% of the requests, want 20", share)
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
