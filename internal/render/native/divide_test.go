package native_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

var parameters = render.Parameters{Port: 80, SSLPort: 443}

// split divides even what is small.
var split = render.Split{Whole: 4, Each: 4}

// opener opens the files of a bundle, and counts them.
func opener(b render.Bundle, opened *int) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		*opened++
		for i := range b.Files {
			if b.Files[i].Path == path {
				return b.Files[i].Data(), nil
			}
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
}

func reads(t *testing.T, r *native.Reader, b render.Bundle) *native.Configuration {
	t.Helper()
	var opened int
	c, err := r.Read(native.File, opener(b, &opened))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func renders(t *testing.T, r interface {
	Render(*route.Table, render.Parameters, render.Credentials) (render.Bundle, error)
}, table *route.Table, c render.Credentials,
) render.Bundle {
	t.Helper()
	b, err := r.Render(table, parameters, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// world is a table that changes, and what its hosts prove their names with.
type world struct {
	random      *rand.Rand
	table       *route.Table
	credentials render.Credentials
}

func newWorld(seed uint64) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 1)), table: &route.Table{}, credentials: render.Credentials{}}
}

// next changes a few things, and shares what it does not change as others do.
func (w *world) next() {
	t := *w.table
	t.Hosts, t.Upstreams, w.table = slices.Clone(t.Hosts), slices.Clone(t.Upstreams), &t
	old := w.credentials
	w.credentials = render.Credentials{}
	for host, pair := range old {
		w.credentials[host] = pair
	}
	for range 1 + w.random.IntN(3) {
		name := fmt.Sprintf("app-%03d", w.random.IntN(60))
		at, there := slices.BinarySearchFunc(t.Upstreams, name, func(u route.Upstream, name string) int { return strings.Compare(u.Name, name) })
		switch kind := w.random.IntN(6); {
		case !there:
			t.Upstreams = slices.Insert(t.Upstreams, at, route.Upstream{Name: name, Endpoints: w.endpoints()})
			t.Hosts = slices.Insert(t.Hosts, at, w.host(name))
		case kind == 0:
			t.Upstreams, t.Hosts = slices.Delete(t.Upstreams, at, at+1), slices.Delete(t.Hosts, at, at+1)
			delete(w.credentials, name+".test")
		case kind == 1:
			t.Hosts[at] = w.host(name)
		case kind == 2:
			w.credentials[name+".test"] = render.Pair{Chain: fmt.Append(nil, w.random.IntN(9)), Key: []byte("key")}
		case kind == 3:
			delete(w.credentials, name+".test")
		default:
			t.Upstreams[at].Endpoints = w.endpoints()
		}
	}
	if len(t.Upstreams) > 0 && w.random.IntN(10) == 0 {
		t.Default = []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{t.Upstreams[0].Name}}}}
	} else if w.random.IntN(3) == 0 || len(t.Default) > 0 {
		t.Default = nil
	}
	w.table = &t
}

func (w *world) endpoints() []route.Endpoint {
	list := make([]route.Endpoint, 0, 3)
	for i := range w.random.IntN(4) {
		list = append(list, route.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(w.random.IntN(200))}), 80)})
	}
	return list
}

func (w *world) host(name string) route.VirtualHost {
	h := route.VirtualHost{Name: name + ".test", Routes: []route.Route{{PathPrefix: "/", TLSOnly: w.random.IntN(2) == 0, Forward: route.Forward{Upstreams: []string{name}}}}}
	if w.random.IntN(2) == 0 {
		secret := route.Material{Name: name, ID: "id"}
		h.Credential = &route.Credential{Chain: secret, Key: secret, Asker: name}
	}
	return h
}

func TestBundlesDoNotDependOnThoseBefore(t *testing.T) {
	w := newWorld(1)
	memory := native.Memory{Renderer: native.Renderer{Split: split}}
	var reader native.Reader
	for step := range 300 {
		w.next()
		got, anew := renders(t, &memory, w.table, w.credentials), renders(t, &memory.Renderer, w.table, w.credentials)
		if !reflect.DeepEqual(got, anew) {
			t.Fatalf("step %d: with what is remembered another bundle comes out", step)
		}
		read, alone := reads(t, &reader, got), reads(t, new(native.Reader), got)
		if !reflect.DeepEqual(read.Table.Hosts, alone.Table.Hosts) || !reflect.DeepEqual(read, alone) {
			t.Fatalf("step %d: who has read the bundle before reads something else", step)
		}
		if len(read.Table.Hosts) != len(w.table.Hosts) || len(read.Table.Hosts) > 0 && !reflect.DeepEqual(read.Table, w.table) {
			t.Fatalf("step %d: what is read is another table", step)
		}
	}
}

func TestOneEndpointIsOneSmallFileAndAllElseIsTheSame(t *testing.T) {
	w := newWorld(2)
	for range 300 {
		w.next()
	}
	memory := native.Memory{Renderer: native.Renderer{Split: split}}
	var reader native.Reader
	before := renders(t, &memory, w.table, w.credentials)
	readBefore := reads(t, &reader, before)
	next := *w.table
	next.Upstreams = slices.Clone(next.Upstreams)
	next.Upstreams[7].Endpoints = append(w.endpoints(), route.Endpoint{Addr: netip.MustParseAddrPort("10.9.9.9:80")})
	after := renders(t, &memory, &next, w.credentials)
	var changed []string
	for i := range after.Files {
		if !slices.ContainsFunc(before.Files, func(f render.File) bool { return f.Path == after.Files[i].Path && f.Equal(after.Files[i].Content) }) {
			changed = append(changed, after.Files[i].Path)
		}
	}
	if len(changed) != 2 || !slices.Contains(changed, native.File) || len(after.Files) < 10 {
		t.Errorf("of %d files there change %q", len(after.Files), changed)
	}
	opened := 0
	read, err := reader.Read(native.File, opener(after, &opened))
	if err != nil || opened != 2 {
		t.Fatalf("%d files are opened: %v", opened, err)
	}
	if &read.Table.Hosts[0] != &readBefore.Table.Hosts[0] {
		t.Error("the hosts are copied though none has changed")
	}
	for i := range read.Table.Upstreams {
		same := reflect.DeepEqual(next.Upstreams[i], w.table.Upstreams[i])
		a, b := read.Table.Upstreams[i].Endpoints, readBefore.Table.Upstreams[i].Endpoints
		if same && len(a) > 0 && &a[0] != &b[0] {
			t.Errorf("the upstream %d is another one though nothing of it has changed", i)
		}
	}
}

func TestATableIsDividedByItsSizeAlone(t *testing.T) {
	table := &route.Table{}
	for _, want := range []struct{ size, parts int }{{512, 0}, {513, 16}, {1024, 16}, {1025, 32}, {16384, 256}, {100_000, 256}} {
		table.Hosts = make([]route.VirtualHost, want.size/2)
		table.Upstreams = make([]route.Upstream, want.size-want.size/2)
		if got := (render.Split{}).Parts(table); got != want.parts {
			t.Errorf("%d hosts and upstreams are in %d parts, want %d", want.size, got, want.parts)
		}
	}
	counts := make([]int, 16)
	for i := range 1000 {
		counts[render.PartOf(fmt.Sprintf("app-%d.example.com", i), 16)]++
	}
	if least, most := slices.Min(counts), slices.Max(counts); least < 30 || most > 100 {
		t.Errorf("of 1000 names the parts have %v", counts)
	}
}

func TestPartsThatDoNotFitAreNotRead(t *testing.T) {
	w := newWorld(3)
	for range 100 {
		w.next()
	}
	good := renders(t, &native.Renderer{Split: split}, w.table, nil)
	main := slices.IndexFunc(good.Files, func(f render.File) bool { return f.Path == native.File })
	another := func(change func(*interlockv1.NativeParts)) render.Bundle {
		message := new(interlockv1.NativeConfiguration)
		if err := proto.Unmarshal(good.Files[main].Data(), message); err != nil {
			t.Fatal(err)
		}
		change(message.GetParts())
		data, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		b := render.Bundle{Files: slices.Clone(good.Files)}
		b.Files[main].Content = render.NewContent(data)
		return b
	}
	// What a configuration does not say is not what the one before said.
	var reader native.Reader
	reads(t, &reader, another(func(p *interlockv1.NativeParts) {
		p.Rest = wire.RestMessage(&route.Table{Default: w.table.Hosts[0].Routes})
	}))
	if c := reads(t, &reader, another(func(p *interlockv1.NativeParts) { p.Rest = nil })); len(c.Table.Default) > 0 {
		t.Errorf("the default is %v", c.Table.Default)
	}
	garbled := render.Bundle{Files: slices.Clone(good.Files)}
	for i := range garbled.Files {
		if i != main {
			garbled.Files[i].Content = render.NewContent(append(bytes.Clone(garbled.Files[i].Data()), 0))
		}
	}
	for want, b := range map[string]render.Bundle{
		"another than the table names": garbled,
		"file does not exist":          another(func(p *interlockv1.NativeParts) { p.Hashes[0] = make([]byte, 32) }),
		"is named twice":               another(func(p *interlockv1.NativeParts) { p.Hashes[0] = p.Hashes[1] }),
		"has 3 bytes":                  another(func(p *interlockv1.NativeParts) { p.Hashes[0] = []byte("abc") }),
		"there is no upstream":         another(func(p *interlockv1.NativeParts) { p.Hashes = p.Hashes[1:] }),
	} {
		var opened int
		if _, err := new(native.Reader).Read(native.File, opener(b, &opened)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
