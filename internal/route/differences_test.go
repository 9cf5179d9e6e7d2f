package route_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

func TestTheDifferencesOfTwoTablesAreNamed(t *testing.T) {
	host := func(name, to string) route.VirtualHost {
		return route.VirtualHost{Name: name, Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{to}}}}}
	}
	before := &route.Table{
		Hosts:     []route.VirtualHost{host("a.test", "a"), host("b.test", "a"), host("d.test", "a")},
		Upstreams: []route.Upstream{{Name: "a"}, {Name: "b"}},
	}
	after := &route.Table{
		Hosts:     []route.VirtualHost{host("a.test", "a"), host("b.test", "c"), host("c.test", "c")},
		Upstreams: []route.Upstream{{Name: "a"}, {Name: "c"}},
		Default:   host("", "a").Routes,
	}
	got := route.Differences(before, after)
	want := route.Changes{
		Hosts: []*route.VirtualHost{&after.Hosts[1], &after.Hosts[2]}, Upstreams: []*route.Upstream{&after.Upstreams[1]},
		GoneHosts: []string{"d.test"}, GoneUpstreams: []string{"b"}, Rest: true,
	}
	if !reflect.DeepEqual(got, want) || got.Count() != 5 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	same := *before
	same.Hosts = slices.Clone(before.Hosts)
	if none := route.Differences(before, &same); none.Count() != 0 || none.Rest {
		t.Errorf("a copy differs in %+v", none)
	}
}
