package behaviour

import (
	"net/http"
	"strings"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/route"
)

func longestRoot(s *suite) {
	s.serve(demo([]route.Route{
		{PathPrefix: "/app/deep", Forward: to("deep")}, {PathPrefix: "/app", Forward: to("app")}, {PathPrefix: "/", Forward: to("site")},
	}, upstream("app", s.sees("app")), upstream("deep", s.sees("deep")), upstream("site", s.sees("site"))))
	for path, want := range map[string]string{
		"/": "site /", "/apple": "site /apple", "/app": "app /app", "/app/": "app /app/", "/app/x?q=1": "app /app/x?q=1",
		"/app/deeper": "app /app/deeper", "/app/deep": "deep /app/deep", "/app/deep/y": "deep /app/deep/y",
		"/app/a%2Fb%20c": "app /app/a%2Fb%20c", "/app//x": "app /app//x", "/APP": "site /APP", "/%61pp/x": "app /%61pp/x",
		"/x/../y": "site /x/../y", "/app/x/../y": "app /app/x/../y", "/.well-known/acme-challenge/x": "site /.well-known/acme-challenge/x",
	} {
		s.sendsTo(path, want)
	}
	// Here a path is one service's as it stands, and another's once its dots are
	// resolved. Who gets it may not resolve them, and then serves what is not
	// below its root: to refuse it is right.
	for path, resolved := range map[string]string{
		"/app/../x": "site /app/../x", "/app/%2e%2e/x": "site /app/%2e%2e/x", "/app/..%2fx": "site /app/..%2fx",
	} {
		s.sendsToOr(path, by{Nginx: resolved, Native: "400"})
	}
	if got := s.send("DEMO.local.", "/app", nil); got.body != "app /app" {
		s.Errorf("a name in capitals with a dot at its end: %+v", got)
	}
}

// longestPathOf is the longest context root that a service may ask for.
func longestPathOf() string {
	path := "/-"
	for {
		_, _, faults := label.Parse(map[string]string{label.Prefix + "context_root": path + "-"})
		if len(faults) > 0 {
			return path
		}
		path += "-"
	}
}

// Some proxies count the bytes of a path in one byte, and say nothing.
func longestPath(s *suite) {
	longest := longestPathOf()
	for _, rewrite := range []bool{false, true} {
		s.serve(demo([]route.Route{
			{PathPrefix: longest, Rewrite: rewrite, Websockets: []string{longest}, Forward: to("long")}, {PathPrefix: "/", Forward: to("site")},
		}, upstream("long", s.sees("long")), upstream("site", s.sees("site"))))
		below := longest + "/x"
		if rewrite {
			below = "/x"
		}
		for path, want := range map[string]string{
			"/": "site /", "/x": "site /x", longest + "-": "site " + longest + "-", longest[:len(longest)-1]: "site " + longest[:len(longest)-1], longest + "/x": "long " + below,
		} {
			s.sendsTo(path, want)
		}
	}
}

func noHost(s *suite) {
	s.serve(&route.Table{Default: []route.Route{{PathPrefix: "/", Forward: to("app")}}, Upstreams: []route.Upstream{upstream("app", s.sees("app"))}})
	// The app refuses a request of HTTP/1.1 without a host.
	if got := s.says("GET / HTTP/1.0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "app /") {
		s.Errorf("%s", got)
	}
}

func rewrittenRoot(s *suite) {
	s.serve(demo([]route.Route{{PathPrefix: "/app", Rewrite: true, Websockets: []string{"/app/ws"}, Forward: to("app")}}, upstream("app", s.sees("app"))))
	for path, want := range map[string]string{
		"/app/": "app /", "/app/x?q=%2F": "app /x?q=%2F", "/app/app/x": "app /app/x", "/app/ws": "app /ws", "/app/ws/1": "app /ws/1",
		"/app/a%20b": "app /a%20b", "/app/a%3Fb": "app /a%3Fb", "/app/a%23b": "app /a%23b", "/app/%25": "app /%25", "/app/%C3%A9": "app /%C3%A9",
		"/app/$1;'\"": "app /$1;'\"", "/app//x": "app /x", "/app/a%2Fb": "app /a/b",
	} {
		s.sendsTo(path, want)
	}
	for path, want := range map[string]string{"/app": "/app/", "/app?a=b%20c&d": "/app/?a=b%20c&d"} {
		got := s.send("demo.local", path, nil)
		if got.status != http.StatusFound || got.header.Get("Location") != want {
			s.Errorf("%s: %d to %q; want 302 to %q", path, got.status, got.header.Get("Location"), want)
		}
	}
	for _, path := range []string{"/", "/apple", "/app/..%2fx", "/app/%2e%2e/x"} {
		if got := s.send("demo.local", path, nil); got.status != http.StatusServiceUnavailable && got.status != http.StatusBadRequest {
			s.Errorf("%s, which is outside of the root: %+v", path, got)
		}
	}
}

func redirects(s *suite) {
	table := demo([]route.Route{{PathPrefix: "/", Forward: to("app")}}, upstream("app", s.sees("app")))
	table.Hosts = append(table.Hosts, route.VirtualHost{Name: "old.local", Redirects: []route.Redirect{{Scheme: "http", Target: "https://new.local:8443"}}})
	s.serve(table)
	for _, path := range []string{"/", "/a%2Fb/%20?q=1&r=%24x", "/x//evil.local/", "/$http_cookie"} {
		got := s.send("old.local", path, map[string]string{"Cookie": "secret=1"})
		if want := "https://new.local:8443" + path; got.status != http.StatusFound || got.header.Get("Location") != want {
			s.Errorf("%s: %d to %q; want 302 to %q", path, got.status, got.header.Get("Location"), want)
		}
	}
	s.sendsTo("/x", "app /x")
}

func wildcards(s *suite) {
	table := &route.Table{Upstreams: []route.Upstream{upstream("deep", s.sees("deep")), upstream("exact", s.sees("exact")), upstream("wild", s.sees("wild"))}}
	for _, h := range [][2]string{{"*.b.local", "wild"}, {"*.x.b.local", "deep"}, {"a.b.local", "exact"}} {
		table.Hosts = append(table.Hosts, route.VirtualHost{Name: h[0], Routes: []route.Route{{PathPrefix: "/", Forward: to(h[1])}}})
	}
	s.serve(table)
	for host, want := range map[string]string{
		"a.b.local": "exact /", "c.b.local": "wild /", "c.d.b.local": "wild /", "a.a.b.local": "wild /", "x.b.local": "wild /",
		"y.x.b.local": "deep /", "z.y.x.b.local": "deep /", "C.B.Local.": "wild /",
	} {
		if got := s.send(host, "/", nil); got.body != want {
			s.Errorf("%s: %d %q, want %q", host, got.status, got.body, want)
		}
	}
	for _, host := range []string{"b.local", "ab.local", "local"} {
		if got := s.send(host, "/", nil); got.status != http.StatusServiceUnavailable {
			s.Errorf("%s: %+v, want 503", host, got)
		}
	}
}

func nobody(s *suite) {
	s.serve(demo([]route.Route{{PathPrefix: "/gone", Forward: to("gone")}, {PathPrefix: "/app", Forward: to("app")}},
		upstream("app", s.sees("app")), upstream("gone")))
	for at, want := range map[[2]string]string{
		{"other.local", "/"}:     "No service is configured for this host name.",
		{"demo.local", "/x"}:     "No service is configured for this path.",
		{"demo.local", "/gone"}:  "The service for this address has no running task.",
		{"demo.local", "/gone/"}: "The service for this address has no running task.",
	} {
		got := s.send(at[0], at[1], nil)
		if want = "503 Service Unavailable\n\n" + want + "\n"; got.status != http.StatusServiceUnavailable || got.body != want {
			s.Errorf("%s: %d %q, want %q", at, got.status, got.body, want)
		}
	}
}
