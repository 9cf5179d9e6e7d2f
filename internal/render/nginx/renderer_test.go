package nginx

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

func parameters(config map[string]any) render.Parameters {
	return render.Parameters{Port: 80, SSLPort: 443, ConfigPath: "/etc/nginx/nginx.conf", Config: config}
}

// tableOf has hosts host-N.example.com, each with an upstream of its own.
func tableOf(hosts, endpoints int) *route.Table {
	t := &route.Table{}
	for i := range hosts {
		name := fmt.Sprintf("service-%05d", i)
		t.Hosts = append(t.Hosts, route.VirtualHost{
			Name:   fmt.Sprintf("host-%05d.example.com", i),
			Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{name}}}},
		})
		u := route.Upstream{Name: name}
		for j := range endpoints {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j + 1)})
			u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.AddrPortFrom(addr, 8080), Task: fmt.Sprint(j)})
		}
		t.Upstreams = append(t.Upstreams, u)
	}
	return t
}

func oneHost(name, path string) *route.Table {
	t := tableOf(1, 1)
	t.Hosts[0].Name = name
	t.Hosts[0].Routes[0].PathPrefix = path
	return t
}

func TestTheSameTableGivesTheSameBytes(t *testing.T) {
	table := tableOf(50, 3)
	config := map[string]any{
		"HTTPOptions": []any{"gzip on;", "etag off;"}, "User": "www-data", "IPHash": true, "MaxConnections": float64(99),
	}
	first, err := new(Renderer).Render(table, parameters(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := new(Renderer).Render(table, parameters(maps.Clone(config)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if first.Version() != again.Version() || first.Token != again.Token {
			t.Fatal("a second rendering differs from the first")
		}
	}
}

func TestTheTokenChangesWithEveryChangeOfTheFile(t *testing.T) {
	render := func(table *route.Table, config map[string]any) string {
		t.Helper()
		b, err := new(Renderer).Render(table, parameters(config), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b.Files[0].Data()), `return 200 "`+b.Token+`"`) {
			t.Fatal("the file does not answer its token")
		}
		return b.Token
	}
	tokens := []string{
		render(tableOf(1, 1), nil), render(tableOf(1, 2), nil), render(tableOf(2, 1), nil),
		render(tableOf(1, 1), map[string]any{"MaxConnections": int64(77)}),
	}
	slices.Sort(tokens)
	if got := len(slices.Compact(tokens)); got != 4 {
		t.Errorf("four different files have %d different tokens", got)
	}
}

func TestWhatCannotBeWrittenSafelyIsRefused(t *testing.T) {
	for name, table := range map[string]*route.Table{
		"a host that is a regular expression": oneHost("~^(.*)$", "/"),
		"a host with a directive":             oneHost("x.test; return 200 pwned; #", "/"),
		"a host with a quote":                 oneHost(`x.test"`, "/"),
		"a host with a variable":              oneHost("$hostname", "/"),
		"a lone wildcard":                     oneHost("*", "/"),
		"a wildcard within":                   oneHost("a.*.test", "/"),
		"an empty host":                       oneHost("", "/"),
		"a host with a line break":            oneHost("x.test\n", "/"),
		"a path with a NUL byte":              oneHost("x.test", "/a\x00b"),
		"a path with a line break":            oneHost("x.test", "/a\nb"),
		"a path that is a modifier":           oneHost("x.test", "~ ^/"),
		"a path longer than nginx reads":      oneHost("x.test", "/"+strings.Repeat("a", 5000)),
		"a path longer than nginx matches":    oneHost("x.test", "/"+strings.Repeat("-", 254)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := new(Renderer).Render(table, parameters(nil), nil); err == nil {
				t.Error("rendered without an error")
			}
		})
	}
}

func TestATableThatContradictsItselfIsRefused(t *testing.T) {
	twice := tableOf(2, 1)
	twice.Hosts[1].Name = strings.ToUpper(twice.Hosts[0].Name)
	unknown := tableOf(1, 1)
	unknown.Upstreams = nil
	unknownDefault := tableOf(1, 1)
	unknownDefault.Default = []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"nobody"}}}}
	noPort := tableOf(1, 1)
	noPort.Upstreams[0].Endpoints[0].Addr = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), 0)
	zoned := tableOf(1, 1)
	zoned.Upstreams[0].Endpoints[0].Addr = netip.MustParseAddrPort("[fe80::1%eth0]:80")
	for want, table := range map[string]*route.Table{
		"twice": twice, `no upstream "service-00000"`: unknown, `no upstream "nobody"`: unknownDefault,
		"10.0.0.1:0": noPort, "fe80::1%eth0": zoned,
	} {
		if _, err := new(Renderer).Render(table, parameters(nil), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got: %v", want, err)
		}
	}
}

func TestWhatCannotBeSaidSafelyIsAnError(t *testing.T) {
	for want, change := range map[string]func(*route.Table){
		"name of a cookie":    func(t *route.Table) { t.Hosts[0].Routes[0].Forward.Affinity.Cookie = "a-b" },
		"cannot be rewritten": func(t *route.Table) { t.Hosts[0].Routes[0].PathPrefix, t.Hosts[0].Routes[0].Rewrite = "/$uri", true },
		"is not below": func(t *route.Table) {
			r := &t.Hosts[0].Routes[0]
			r.PathPrefix, r.Rewrite, r.Websockets = "/app", true, []string{"/ws"}
		},
		"to redirect to": func(t *route.Table) {
			t.Hosts[0].Redirects = []route.Redirect{{Scheme: "http", Target: "http://a/$http_cookie"}}
		},
		"are spoken to differently": func(t *route.Table) {
			t.Upstreams[1].TLS = &route.TLS{}
			t.Hosts[0].Routes[0].Forward.Upstreams = []string{"service-00000", "service-00001"}
		},
	} {
		table := tableOf(2, 1)
		change(table)
		if _, err := new(Renderer).Render(table, parameters(nil), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got: %v", want, err)
		}
	}
}

func TestTheOperatorsRequestHeadersAreSentWithWebsocketsToo(t *testing.T) {
	table := tableOf(1, 1)
	table.Hosts[0].Routes[0].Websockets = []string{"/ws"}
	bundle, err := new(Renderer).Render(table, parameters(map[string]any{"HTTPOptions": []any{"proxy_set_header X-Site main", "etag off"}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	// At http level, at /ws and below it.
	if n := strings.Count(string(bundle.Files[0].Data()), "proxy_set_header X-Site main;\n"); n != 3 {
		t.Errorf("the header is set %d times, want 3", n)
	}
}

func TestAHeaderThatTheOperatorSetsReplacesOurs(t *testing.T) {
	table := tableOf(1, 1)
	table.Hosts[0].Routes[0].Websockets = []string{"/ws"}
	bundle, err := new(Renderer).Render(table, parameters(map[string]any{
		"SSLOpts": "proxy_set_header  x-real-ip  ''; # not ours",
		"HTTPOptions": []any{
			"gzip on; proxy_set_header\tX-FORWARDED-PROTO https; proxy_set_header 'Host' \"a;b\" ;",
			"proxy_set_header Upgrade $http_upgrade;",
			"proxy_set_header Connection '${http_connection}';",
			"server { location / { proxy_set_header X-Request-Id none; } }",
		},
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	conf := string(bundle.Files[0].Data())
	// At http level, at /ws and below it; what would break websockets at http level only.
	for text, want := range map[string]int{
		"proxy_set_header  x-real-ip  '';":           3,
		"proxy_set_header\tX-FORWARDED-PROTO https;": 3,
		`proxy_set_header 'Host' "a;b" ;`:            3,
		"proxy_set_header Upgrade $http_upgrade;":    1,
		"X-Real-IP":                         0,
		"X-Forwarded-Proto":                 0,
		"proxy_set_header Host":             0,
		"gzip on;":                          1,
		"X-Request-Id $request_id;":         3,
		"Upgrade $websocket_upgrade;":       2,
		"Connection $websocket_connection;": 2,
	} {
		if n := strings.Count(conf, text); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", text, n, want, conf)
		}
	}
}

func TestAnUpstreamThatSpeaksTLSHasRoomForItsSessions(t *testing.T) {
	table := tableOf(1, 200)
	table.Upstreams[0].TLS = &route.TLS{Verify: route.VerifyNone}
	bundle, err := new(Renderer).Render(table, parameters(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if conf := string(bundle.Files[0].Data()); !strings.Contains(conf, " 1232k;\n") {
		t.Errorf("200 endpoints have no zone of 32 + 200 x 6 KiB:\n%s", conf)
	}
}

func TestThePlaceAndPortAreNeeded(t *testing.T) {
	for _, p := range []render.Parameters{
		{Port: 80}, {Port: 80, ConfigPath: "nginx.conf"}, {Port: 80, ConfigPath: "/etc/../x"}, {ConfigPath: "/etc/nginx/nginx.conf"},
	} {
		if _, err := new(Renderer).Render(tableOf(1, 1), p, nil); err == nil {
			t.Errorf("%+v: rendered without an error", p)
		}
	}
}

func TestAnUpstreamOfManyTasksGetsAZoneThatHoldsThem(t *testing.T) {
	table := tableOf(1, 200)
	bundle, err := new(Renderer).Render(table, parameters(map[string]any{"User": "www-data"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	acceptedByNginx(t, bundle.Files[0].Data())
}

func TestHostNamesOfAnyLengthAndNumberFitTheHash(t *testing.T) {
	table := tableOf(2000, 1)
	label := strings.Repeat("a", 63)
	table.Hosts[0].Name = strings.Join([]string{label, label, label, label[:61]}, ".")
	for _, r := range []Renderer{{}, {Split: render.Split{Whole: 1 << 20}}} {
		bundle, err := r.Render(table, parameters(map[string]any{"User": "www-data"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		conf, parts := taken(bundle)
		allAcceptedByNginx(t, conf, parts)
	}
}

func BenchmarkRenderThousandUpstreamsOfTenEndpoints(b *testing.B) {
	table, p := tableOf(1000, 10), parameters(nil)
	for b.Loop() {
		if _, err := new(Renderer).Render(table, p, nil); err != nil {
			b.Fatal(err)
		}
	}
}
