package nginx

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// inParts divides even what is small.
var inParts = render.Split{Whole: 1, Each: 4}

// taken are the main file of a bundle and, by their names as seen from it, those
// that it includes.
func taken(b render.Bundle) (conf []byte, parts map[string][]byte) {
	parts = make(map[string][]byte)
	for i := range b.Files {
		switch f := &b.Files[i]; {
		case f.Path == "/etc/nginx/nginx.conf":
			conf = f.Data()
		case !f.Sensitive:
			parts[strings.TrimPrefix(f.Path, "/etc/nginx/")] = f.Data()
		}
	}
	return conf, parts
}

// variety is a random history of a table with all that a part may hold.
type variety struct {
	random      *rand.Rand
	table       *route.Table
	credentials render.Credentials
}

const varied = 40 // names at most

func newVariety(seed uint64) *variety {
	return &variety{random: rand.New(rand.NewPCG(seed, 7)), table: &route.Table{}, credentials: render.Credentials{}}
}

func (v *variety) one(of int) bool { return v.random.IntN(of) == 0 }

func upstreamOf(n int) string { return fmt.Sprintf("app-%02d", n) }

// next changes a few things; what it does not change is shared.
func (v *variety) next() {
	t := *v.table
	t.Hosts, t.Upstreams, v.table = slices.Clone(t.Hosts), slices.Clone(t.Upstreams), &t
	v.credentials = maps.Clone(v.credentials)
	if len(t.Upstreams) == 0 {
		for n := range varied { // so that hosts may forward to any
			t.Upstreams = append(t.Upstreams, v.upstream(n))
		}
	}
	for range 1 + v.random.IntN(2) {
		n := v.random.IntN(varied)
		switch v.random.IntN(8) {
		case 0, 1, 2:
			v.setHost(n)
		case 3:
			t.Hosts = slices.DeleteFunc(t.Hosts, func(h route.VirtualHost) bool { return h.Name == hostOf(n) })
		case 4:
			v.credentials[hostOf(n)] = render.Pair{Chain: fmt.Append(nil, v.random.IntN(9)), Key: []byte("key")}
		case 5:
			delete(v.credentials, hostOf(n))
		default:
			t.Upstreams[n] = v.upstream(n)
		}
	}
	t.Default, t.Passthrough = nil, nil
	if v.one(6) {
		t.Default = []route.Route{v.route("/")}
	}
	if v.one(6) {
		t.Passthrough = []route.Passthrough{{Name: "through.test", RedirectPlain: true, Forward: route.Forward{Upstreams: []string{upstreamOf(1)}}}}
	}
}

func hostOf(n int) string {
	if n%10 == 3 {
		return fmt.Sprintf("*.host-%02d.test", n)
	}
	return fmt.Sprintf("host-%02d.test", n)
}

func (v *variety) setHost(n int) {
	t := v.table
	h := route.VirtualHost{Name: hostOf(n), Routes: []route.Route{v.route("/")}}
	if v.one(3) {
		h.Routes = []route.Route{v.route("/app"), v.route("/")}
	}
	if v.one(8) {
		h.Redirects = []route.Redirect{{Scheme: "http", Target: "https://elsewhere.test"}}
	}
	if v.one(2) {
		secret := route.Material{Name: h.Name, ID: "id"}
		h.Credential = &route.Credential{Chain: secret, Key: secret, Asker: "app"}
	}
	at, there := slices.BinarySearchFunc(t.Hosts, h.Name, func(h route.VirtualHost, name string) int { return strings.Compare(h.Name, name) })
	if there {
		t.Hosts[at] = h
		return
	}
	t.Hosts = slices.Insert(t.Hosts, at, h)
}

func (v *variety) route(prefix string) route.Route {
	n := v.random.IntN(varied)
	r := route.Route{PathPrefix: prefix, TLSOnly: v.one(4), Forward: route.Forward{Upstreams: []string{upstreamOf(n)}}}
	if n%2 == 0 && n+2 < varied && v.one(2) { // spoken to alike
		r.Forward.Upstreams = append(r.Forward.Upstreams, upstreamOf(n+2))
	}
	if v.one(3) {
		r.Websockets = []string{strings.TrimSuffix(prefix, "/") + "/ws"}
	}
	switch v.random.IntN(4) {
	case 0:
		r.Forward.Affinity.Cookie = fmt.Sprint("session", v.random.IntN(3))
	case 1:
		r.Forward.Balance = route.BalanceLeastConn
	}
	return r
}

func (v *variety) upstream(n int) route.Upstream {
	u := route.Upstream{Name: upstreamOf(n)}
	switch {
	case n%2 == 0 || n == 1:
	case n%5 == 0:
		u.TLS = &route.TLS{Verify: route.VerifyNone}
	case n%3 == 0:
		u.HTTP2 = v.one(2)
	}
	for i := range v.random.IntN(4) {
		u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(v.random.IntN(200))}), 80)})
	}
	return u
}

func TestBundlesDoNotDependOnThoseBefore(t *testing.T) {
	v := newVariety(1)
	memory := Memory{Renderer: Renderer{Split: inParts}}
	p := parameters(nil)
	p.SSLPort = 18443
	kept := 0
	var before render.Bundle
	for step := range 500 {
		v.next()
		if step%50 == 0 {
			p.Config = map[string]any{"ReadTimeout": fmt.Sprintf("%ds", 60+step)}
		}
		got, err := memory.Render(v.table, p, v.credentials)
		if err != nil {
			t.Fatal(err)
		}
		anew, err := memory.Renderer.Render(v.table, p, v.credentials)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, anew) {
			t.Fatalf("step %d: with what is remembered another bundle comes out", step)
		}
		for i := range got.Files {
			if slices.ContainsFunc(before.Files, func(f render.File) bool {
				return f.Path == got.Files[i].Path && &f.Data()[0] == &got.Files[i].Data()[0]
			}) {
				kept++
			}
		}
		before = got
	}
	if kept < 500 {
		t.Errorf("only %d files were carried over", kept)
	}
}

// linesOf are the lines of files, but for those in which the two ways to write one
// table must differ, sorted.
func linesOf(files ...[]byte) (lines []string) {
	for line := range bytes.Lines(bytes.Join(files, nil)) {
		text := string(bytes.TrimSpace(line))
		if !strings.HasPrefix(text, "include \"parts/") && !strings.HasPrefix(text, "return 200") {
			lines = append(lines, text)
		}
	}
	slices.Sort(lines)
	return lines
}

func TestNothingIsLostByDividing(t *testing.T) {
	v := newVariety(2)
	p := parameters(nil)
	p.SSLPort = 18443
	for step := range 200 {
		v.next()
		whole, err := new(Renderer).Render(v.table, p, v.credentials)
		if err != nil {
			t.Fatal(err)
		}
		divided, err := (&Renderer{Split: inParts}).Render(v.table, p, v.credentials)
		if err != nil {
			t.Fatal(err)
		}
		one, none := taken(whole)
		main, parts := taken(divided)
		if len(none) > 0 || len(parts) < 8 && step > 50 {
			t.Fatalf("step %d: %d and %d parts", step, len(none), len(parts))
		}
		if want, got := linesOf(one), linesOf(append(slices.Collect(maps.Values(parts)), main)...); !slices.Equal(want, got) {
			t.Fatalf("step %d: other lines:\n%s\n%s", step, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
		if step%40 == 39 {
			v.credentials = render.Credentials{} // nginx would look for the files
		}
	}
}

func TestATableInPartsBecomesTheseFilesAndNginxAcceptsThem(t *testing.T) {
	const golden = "testdata/parts/shop.txtar"
	table, p := readGolden(t, golden)
	b, err := (&Renderer{ServerInfo: testServerInfo, Split: render.Split{Whole: 2, Each: 3}}).Render(table, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	conf, parts := taken(b)
	var shown []byte
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		shown = fmt.Appendf(shown, "# %s\n%s", name, parts[name])
	}
	compareGolden(t, golden, append(shown, conf...))
	allAcceptedByNginx(t, conf, parts)
}

func TestOneEndpointIsOnePartAndTheMainFile(t *testing.T) {
	table := tableOf(1000, 2)
	memory := Memory{}
	before, err := memory.Render(table, parameters(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	next := *table
	next.Upstreams = slices.Clone(table.Upstreams)
	next.Upstreams[500].Endpoints = next.Upstreams[500].Endpoints[:1]
	after, err := memory.Render(&next, parameters(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for i := range after.Files {
		if f := &after.Files[i]; !slices.ContainsFunc(before.Files, func(g render.File) bool { return g.Path == f.Path && g.Equal(f.Content) }) {
			changed = append(changed, path.Dir(f.Path))
		}
	}
	if !slices.Equal(changed, []string{"/etc/nginx", "/etc/nginx/parts"}) || len(after.Files) < 30 {
		t.Errorf("of %d files there change some in %q", len(after.Files), changed)
	}
}
