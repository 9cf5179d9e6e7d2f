package nginx_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// inParts divides every table.
var inParts = render.Split{Whole: 1, Each: 1}

// parts are the names of the parts in place.
func (r *rig) parts() []string {
	r.t.Helper()
	return fixture.Names(r.t, r.path("etc/parts"))
}

func TestOnlyThePartsOfTheLastBundleAreInPlace(t *testing.T) {
	r := newRig(t)
	r.split = inParts
	one, two := app(t, "one"), app(t, "two")
	first := r.bundle(one)
	r.apply(first)
	before := r.parts()
	r.answers("one")
	second := r.bundle(two)
	r.apply(second)
	after := r.parts()
	r.answers("two")
	if len(before) != len(first.Files)-1 || len(after) != len(second.Files)-1 || slices.Equal(before, after) {
		t.Errorf("in place are %q, and then %q", before, after)
	}
}

func TestAPartThatNginxRefusesLeavesTheLastGoodBundle(t *testing.T) {
	r := newRig(t)
	r.split = inParts
	r.apply(r.bundle(app(t, "one")))
	before := r.parts()
	bad := r.bundle(app(t, "two"))
	for i := range bad.Files {
		if f := &bad.Files[i]; strings.Contains(f.Path, "/parts/") {
			f.Content = render.NewContent(append([]byte("no_such_directive on;\n"), f.Data()...))
		}
	}
	if reason := r.refused(bad); !strings.Contains(reason, `unknown directive "no_such_directive"`) || !strings.Contains(reason, "/etc/parts/") || strings.Contains(reason, r.options.StagingDir) {
		t.Errorf("nginx's words do not say what is wrong, and where: %s", reason)
	}
	r.answers("one")
	if after := r.parts(); !slices.Equal(before, after) {
		t.Errorf("in place are %q, and before were %q", after, before)
	}
}

func TestHostsInPartsHaveTheirOwnCertificates(t *testing.T) {
	s := newSecure(t)
	s.split = inParts
	table := &route.Table{}
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		table.Hosts = append(table.Hosts, route.VirtualHost{
			Name: name, Credential: s.certify(name, name), Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{name}}}},
		})
		addr := netip.MustParseAddrPort(app(t, name).Listener.Addr().String())
		table.Upstreams = append(table.Upstreams, route.Upstream{Name: name, Endpoints: []route.Endpoint{{Addr: addr}}})
	}
	s.serve(table, nil)
	for i := range table.Hosts {
		name := table.Hosts[i].Name
		if response, body := s.gets(name, "/"); response.StatusCode != http.StatusOK || body != name {
			t.Errorf("%s: %d %q", name, response.StatusCode, body)
		}
	}
	// A connection that was opened with the certificate of another one.
	if response, _, err := s.ask(s.client("a.example.com"), "b.example.com", "/"); err != nil || response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a request for another host is not misdirected: %v %v", response, err)
	}
}

// The file with the parameters is not in place yet when the first bundle that
// names it is checked.
func TestTheFirstBundleMayNameDiffieHellmanParameters(t *testing.T) {
	s := newSecure(t)
	table := tableFor(app(t, "one"))
	table.Hosts[0].Credential = s.certify("demo.local", "demo.local")
	s.serve(table, map[string]any{"SSLDefaultDHParam": int64(2048)})
	if response, body := s.gets("demo.local", "/"); response.StatusCode != http.StatusOK || body != "one" {
		t.Errorf("%d %q", response.StatusCode, body)
	}
}
