package translation

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/route"
)

// FuzzLabels gives a service beside the victim labels of any value, and reads
// the file that comes out back: exactly the servers and locations that the
// table names, and the victim's own.
func FuzzLabels(f *testing.F) {
	names := make([]string, 0, len(label.Definitions()))
	for _, d := range label.Definitions() {
		names = append(names, d.Name)
	}
	number := func(name string) uint8 { return uint8(slices.Index(names, strings.TrimPrefix(name, label.Prefix))) }
	for _, d := range label.Definitions() {
		f.Add(number(d.Name), d.Example, number("context_root_rewrite"), "true", "/app")
	}
	for _, h := range readHostile(f) {
		if len(h.Value) < 1000 && slices.Contains(names, strings.TrimPrefix(h.Label, label.Prefix)) {
			f.Add(number(h.Label), h.Value, number("websocket_endpoints"), "/ws,/app/ws", "/app")
		}
	}
	alone := translate(f, victim(), nil, nil)
	victims := serverOf(f, alone.conf, "a.example.test")
	f.Fuzz(func(t *testing.T, first uint8, firstValue string, second uint8, secondValue, root string) {
		swarm := attackWith(map[string]string{
			label.Prefix + "context_root":                root,
			label.Prefix + names[int(second)%len(names)]: secondValue,
			label.Prefix + names[int(first)%len(names)]:  firstValue,
		})
		got := translate(t, swarm, nil, nil)
		if !touches(got.table, "a.example.test") && serverOf(t, got.conf, "a.example.test") != victims {
			t.Errorf("what the victim is served by has changed:\n%s", got.variable(t))
		}
		checkIntended(t, got)
	})
}

// touches reports whether a host has anybody but the victim.
func touches(table *route.Table, host string) bool {
	for _, h := range table.Hosts {
		if h.Name == host {
			return len(h.Routes) != 1 || len(h.Redirects) > 0 || !slices.Equal(h.Routes[0].Forward.Upstreams, []string{"victim-a"})
		}
	}
	return true
}

// checkIntended compares the servers and locations of the file with what the
// table says.
func checkIntended(t *testing.T, o outcome) {
	t.Helper()
	want := map[string][]string{"_": intended(o.table.Default)}
	for _, h := range o.table.Hosts {
		switch {
		case slices.ContainsFunc(h.Redirects, func(r route.Redirect) bool { return r.Scheme == "http" }):
			want[h.Name] = []string{"/"}
		case len(h.Routes) > 0:
			want[h.Name] = intended(h.Routes)
		}
	}
	for _, p := range o.table.Passthrough {
		if _, redirected := want[p.Name]; p.RedirectPlain && !redirected {
			want[p.Name] = []string{"/"}
		}
	}
	same(t, o, "plain", servers(t, o.conf), want)
	checkSecure(t, o)
	if bytes.ContainsAny(o.conf, "\x00\r") {
		t.Error("the file has control characters")
	}
}

// checkSecure does so for TLS connections.
func checkSecure(t *testing.T, o outcome) {
	t.Helper()
	want := map[string][]string{}
	certificates := credentials(o.table)
	for _, h := range o.table.Hosts {
		switch _, usable := certificates[h.Name]; {
		case !usable:
		case slices.ContainsFunc(h.Redirects, func(r route.Redirect) bool { return r.Scheme == "https" }):
			want[h.Name] = []string{"/"}
		default:
			want[h.Name] = intended(h.Routes)
		}
	}
	ended := slices.DeleteFunc(secureServers(t, o.conf), func(s server) bool { return s.chain == "" })
	same(t, o, "TLS", ended, want)
	var through []string
	for _, p := range o.table.Passthrough {
		if slices.ContainsFunc(p.Forward.Upstreams, func(name string) bool { return hasEndpoints(o.table, name) }) {
			through = append(through, p.Name)
		}
	}
	if got := handedThrough(t, o.conf); !slices.Equal(got, through) {
		t.Errorf("handed through: %q, want %q", got, through)
	}
}

func hasEndpoints(table *route.Table, upstream string) bool {
	return slices.ContainsFunc(table.Upstreams, func(u route.Upstream) bool { return u.Name == upstream && len(u.Endpoints) > 0 })
}

func same(t *testing.T, o outcome, kind string, got []server, want map[string][]string) {
	t.Helper()
	for _, s := range got {
		slices.Sort(s.locations)
		if !slices.Equal(s.locations, want[s.name]) {
			t.Errorf("%s server %q has the locations %q, want %q", kind, s.name, s.locations, want[s.name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d %s servers, want %d:\n%s", len(got), kind, len(want), o.variable(t))
	}
}

func intended(routes []route.Route) []string {
	set := map[string]bool{"/": true}
	for _, r := range routes {
		for _, path := range append([]string{r.PathPrefix}, r.Websockets...) {
			if path != "/" {
				set["= "+path], set[path+"/"] = true, true
			}
		}
	}
	var list []string
	for path := range set {
		list = append(list, path)
	}
	slices.Sort(list)
	return list
}
