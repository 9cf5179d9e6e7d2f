package wire_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// tableOf has a host and an upstream for each of the numbers, which are sorted.
func tableOf(numbers ...int) *route.Table {
	t := &route.Table{}
	for _, n := range numbers {
		name := fmt.Sprintf("app-%03d", n)
		t.Hosts = append(t.Hosts, route.VirtualHost{Name: name + ".test", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{name}}}}})
		t.Upstreams = append(t.Upstreams, route.Upstream{Name: name, Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Task: name}}})
	}
	return t
}

func countTo(n int) (numbers []int) {
	for i := range n {
		numbers = append(numbers, i)
	}
	return numbers
}

// travel sends a change of one table into another.
func travel(t *testing.T, before, after *route.Table) (*route.Table, *interlockv1.TableChange) {
	t.Helper()
	message := wire.ChangeMessage(before, "base", after)
	if message == nil {
		return after, nil
	}
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	arrived := new(interlockv1.TableChange)
	if err := proto.Unmarshal(encoded, arrived); err != nil {
		t.Fatal(err)
	}
	got, err := wire.Change(before, arrived)
	if err != nil {
		t.Fatal(err)
	}
	return got, arrived
}

func TestATableArrivesByItsChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	before, sent := tableOf(countTo(100)...), 0
	for step := range 80 {
		var numbers []int
		for n := range 120 {
			if random.IntN(20) > 0 {
				numbers = append(numbers, n)
			}
		}
		after := tableOf(numbers...)
		for i := range after.Upstreams {
			if random.IntN(20) == 0 {
				after.Upstreams[i].Endpoints = nil
				after.Upstreams[i].Endpoints = []route.Endpoint{}
			}
		}
		if random.IntN(3) == 0 {
			name := after.Upstreams[0].Name
			after.Default = []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{name}}}}
			after.Passthrough = []route.Passthrough{{Name: "p.test", Forward: route.Forward{Upstreams: []string{name}}}}
		}
		got, message := travel(t, before, after)
		if message != nil {
			sent++
		}
		if diff := cmp.Diff(after, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Fatalf("step %d (-sent +arrived):\n%s", step, diff)
		}
		before = got
	}
	if sent < 50 {
		t.Errorf("only %d of 80 tables travelled by their changes", sent)
	}
}

func TestOneEndpointOfManyIsASmallMessage(t *testing.T) {
	before := tableOf(countTo(1000)...)
	after := *before
	after.Upstreams = slices.Clone(before.Upstreams)
	after.Upstreams[500].Endpoints = []route.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Task: "other"}}
	got, message := travel(t, before, &after)
	if size := proto.Size(message); size > 100 {
		t.Errorf("the message has %d bytes", size)
	}
	if &got.Hosts[0] != &before.Hosts[0] {
		t.Error("the hosts are copied though none has changed")
	}
}

func TestAWholeTableIsSentWhereMostOfItIsNew(t *testing.T) {
	if message := wire.ChangeMessage(tableOf(1, 2), "base", tableOf(3, 4)); message != nil {
		t.Errorf("the message is %v", message)
	}
}

// Whatever is shared between tables is not looked at, so nothing may hide there.
func TestEveryFieldOfAnUpstreamAndOfAHostIsAChange(t *testing.T) {
	changed := func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.String:
			v.SetString("h2")
		case reflect.Bool:
			v.SetBool(true)
		default:
			v.SetInt(1_000_000_000)
		}
	}
	before := tableOf(countTo(10)...)
	for _, name := range []string{"Upstreams", "Hosts"} {
		of := reflect.ValueOf(before).Elem().FieldByName(name).Index(3).Type()
		for i := range of.NumField() {
			field := of.Field(i).Name
			if field == "Name" {
				continue
			}
			after := *before
			after.Upstreams, after.Hosts = slices.Clone(before.Upstreams), slices.Clone(before.Hosts)
			changed(reflect.ValueOf(&after).Elem().FieldByName(name).Index(3).FieldByName(field))
			message := wire.ChangeMessage(before, "base", &after)
			if len(message.GetUpstreams())+len(message.GetHosts()) != 1 {
				t.Errorf("a change of %s of %s does not show", field, name)
			}
		}
	}
}

func TestAChangeThatDoesNotFitIsNotTaken(t *testing.T) {
	before := tableOf(1, 2, 3)
	for want, message := range map[string]*interlockv1.TableChange{
		`there is no upstream "app-002"`:      {GoneUpstreams: []string{"app-002"}},
		`"app-009" is gone and was not there`: {GoneUpstreams: []string{"app-009"}},
		`"x.test" is gone and was not there`:  {GoneHosts: []string{"x.test"}},
		"it has no route":                     {Hosts: []*interlockv1.VirtualHost{{Name: "x.test"}}},
		"the list must be sorted":             {Upstreams: []*interlockv1.Upstream{{Name: "b"}, {Name: "a"}}},
		`the upstream "app-001" speaks TLS of`: {
			Upstreams: []*interlockv1.Upstream{{Name: "app-001", Tls: &interlockv1.TLS{}}},
			Rest: &interlockv1.TableRest{Passthrough: []*interlockv1.Passthrough{
				{Name: "p.test", Forward: &interlockv1.Forward{Upstreams: []string{"app-001"}}},
			}},
		},
	} {
		if _, err := wire.Change(before, message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
