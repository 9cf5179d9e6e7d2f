package native_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// crowd is a demo beside many others of whom nobody asks for anything.
func crowd(t testing.TB, name string, others int) *route.Table {
	t.Helper()
	table := demo(t, name)
	for i := range others {
		other := fmt.Sprintf("other-%05d", i)
		u := route.Upstream{Name: other}
		for task := range 10 {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(task)}), 8080)
			u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: addr, Task: fmt.Sprintf("task-%d-%d", i, task)})
		}
		table.Hosts = append(table.Hosts, route.VirtualHost{Name: other + ".test", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{other}}}}})
		table.Upstreams = append(table.Upstreams, u)
	}
	return table
}

// with is a table in which the demo has the endpoints of another one.
func with(table, another *route.Table) *route.Table {
	next := *table
	next.Upstreams = slices.Clone(table.Upstreams)
	next.Upstreams[0].Endpoints = another.Upstreams[0].Endpoints
	return &next
}

// parts are the names of the parts in place.
func (r *rig) parts() []string {
	r.t.Helper()
	return fixture.Names(r.t, r.path("run/parts"))
}

func TestOnlyThePartsOfTheLastBundleAreInPlace(t *testing.T) {
	r := newRig(t)
	r.split = inParts
	table := crowd(t, "one", 20)
	for _, b := range []render.Bundle{r.render(table, nil, nil), r.render(with(table, demo(t, "two")), nil, nil)} {
		if err := r.apply(b); err != nil {
			t.Fatal(err)
		}
		if got := r.parts(); len(got) != len(b.Files)-1 || len(got) < 10 {
			t.Errorf("there are %d parts of a bundle of %d files: %q", len(got), len(b.Files), got)
		}
	}
	r.answers("two")
}

func TestABundleWithoutOneOfItsPartsIsRefusedAndTheOneBeforeServed(t *testing.T) {
	r := newRig(t)
	r.split = inParts
	table := crowd(t, "one", 20)
	if err := r.apply(r.render(table, nil, nil)); err != nil {
		t.Fatal(err)
	}
	next := with(table, demo(t, "two"))
	good := r.render(next, nil, nil)
	before := r.parts()
	isNew := func(f *render.File) bool { return !slices.Contains(before, filepath.Base(f.Path)) }
	for _, lacks := range []func(*render.File) bool{isNew, func(f *render.File) bool { return !isNew(f) }} {
		lacking := good
		at := slices.IndexFunc(good.Files, func(f render.File) bool { return filepath.Base(f.Path) != "table.pb" && lacks(&f) })
		lacking.Files = slices.Delete(slices.Clone(good.Files), at, at+1)
		var refused *agent.Refused
		if err := r.apply(lacking); !errors.As(err, &refused) {
			t.Errorf("without %s: %v", good.Files[at].Path, err)
		}
		r.answers("one")
	}
	if err := r.apply(good); err != nil {
		t.Fatal(err)
	}
	r.answers("two")
}

// What is in place of the bundle before must not stand for it.
func TestABundleWithoutItsMainFileIsRefusedAndTheOneBeforeServed(t *testing.T) {
	r := newRig(t)
	r.split = inParts
	if err := r.apply(r.render(crowd(t, "one", 20), nil, nil)); err != nil {
		t.Fatal(err)
	}
	lacking := r.render(crowd(t, "two", 20), nil, nil)
	lacking.Files = slices.DeleteFunc(lacking.Files, func(f render.File) bool { return f.Path == r.path("run/table.pb") })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for what, err := range map[string]error{"checked": r.agent.Check(ctx, lacking), "applied": r.apply(lacking)} {
		var refused *agent.Refused
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "table.pb") {
			t.Errorf("when it is %s: %v", what, err)
		}
	}
	r.answers("one")
}

// A large table that is divided is served by the next bundle as the one before
// was, whole; and so the other way round.
func TestATableMayGrowAndShrinkAcrossTheSizeThatIsDivided(t *testing.T) {
	r := newRig(t)
	r.split = render.Split{Whole: 10, Each: 4}
	for i, size := range []int{0, 20, 0, 40} {
		name := fmt.Sprint("app ", i)
		if err := r.apply(r.render(crowd(t, name, size), nil, nil)); err != nil {
			t.Fatal(err)
		}
		r.answers(name)
	}
}
