package rpc_test

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// manyHosts is a table of so many that one of them is not worth a whole table.
func manyHosts() *route.Table {
	t := tableFor("a.example.com")
	for i := range 8 {
		t.Upstreams = append(t.Upstreams, route.Upstream{Name: fmt.Sprintf("other-%d", i), Endpoints: []route.Endpoint{}})
	}
	return t
}

// moved is the table with another endpoint.
func moved(before *route.Table, to netip.AddrPort) *route.Table {
	after := *before
	after.Upstreams = slices.Clone(before.Upstreams)
	after.Upstreams[0].Endpoints = []route.Endpoint{{Addr: to, Task: "next"}}
	return &after
}

var elsewhere = netip.MustParseAddrPort("10.0.0.2:80")

func TestAfterItsFirstTableAStreamHasWhatChanged(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	client := interlockv1.NewTableServiceClient(dialRaw(t, endpoint, authority.identity(eastExt), theCore))
	for _, understands := range []bool{true, false} {
		tables.publishTable("us-east", 1, manyHosts())
		stream, err := client.WatchTables(t.Context(), &interlockv1.WatchTablesRequest{Changes: understands})
		if err != nil {
			t.Fatal(err)
		}
		first, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		tables.publishTable("us-east", 2, moved(manyHosts(), elsewhere))
		second, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if first.GetTable() == nil || first.GetChange() != nil {
			t.Errorf("changes understood: %t: the first message is no table", understands)
		}
		if (second.GetTable() == nil) != understands || (second.GetChange() != nil) != understands {
			t.Errorf("changes understood: %t: the second message has table %t, change %v", understands, second.GetTable() != nil, second.GetChange())
		}
		if change := second.GetChange(); understands && (change.GetBase() != first.GetVersion() || len(change.GetUpstreams()) != 1) {
			t.Errorf("the change is %v", change)
		}
	}
}

func TestAnExtensionHasTheTableThatWasPublished(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	core, err := rpc.DialCore(endpoint, authority.identity(eastExt))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = core.Close() }()
	got := make(chan render.Publication, 100)
	stop := background(t, func(ctx context.Context) error {
		_ = core.Watch(ctx, func(p render.Publication) { got <- p }) // it ends with ctx
		return nil
	})
	defer stop()
	for i, table := range []*route.Table{manyHosts(), moved(manyHosts(), elsewhere), tableFor("b.example.com"), manyHosts()} {
		tables.publishTable("us-east", uint64(i+1), table)
		if p := receive(t, got, "a table"); !reflect.DeepEqual(p.Table, table) || p.Version != table.Version() {
			t.Errorf("table %d: published %+v, got %+v", i, table, p.Table)
		}
	}
}

func TestATableIsSentAsAWholeToAnExtensionThatDidNotUnderstandTheOneBefore(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{})
	tables.publishTable("us-east", 1, manyHosts())
	receive(t, tables.answers, "a bundle")
	tables.publishTable("us-east", 2, moved(manyHosts(), netip.AddrPort{}))
	if got := receive(t, tables.answers, "a failure"); got.generation != 2 || got.failure == "" {
		t.Errorf("an endpoint without an address is answered with %+v", got)
	}
	tables.publishTable("us-east", 3, moved(manyHosts(), elsewhere))
	if got := receive(t, tables.answers, "a bundle"); got.generation != 3 || got.failure != "" {
		t.Errorf("got generation %d, failure %q", got.generation, got.failure)
	}
}
