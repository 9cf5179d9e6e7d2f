package rpc_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/rpc"
	"github.com/interlock-lb/interlock/internal/wire"
)

// shelf renders a file for each upstream, so that little changes with one.
type shelf struct{}

func (shelf) Render(t *route.Table, _ render.Parameters, _ render.Credentials) (render.Bundle, error) {
	b := render.Bundle{Token: t.Version()}
	for _, u := range t.Upstreams {
		b.Files = append(b.Files, render.File{Path: "/parts/" + u.Name, Mode: 0o644, Content: render.NewContent(fmt.Append(nil, u.Endpoints))})
	}
	b.Sort()
	return b, nil
}

// shelfOf is a bundle of twenty files, of which one says what it is told.
func shelfOf(word string) render.Bundle {
	b := render.Bundle{Token: "t"}
	for i := range 20 {
		b.Files = append(b.Files, render.File{Path: fmt.Sprintf("/etc/nginx/%02d.conf", i), Mode: 0o644, Content: render.NewContent([]byte("the same"))})
	}
	b.Files[7].Content = render.NewContent([]byte(word))
	return b
}

// serveRaw gives a server that does what a test tells it to its port.
func serveRaw(t *testing.T, identity *pki.Identity, role pki.Role, register func(*grpc.Server)) string {
	t.Helper()
	listener := listen(t, "127.0.0.1:0")
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.ServerConfigOptionalClient(role))))
	register(server)
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, server.Stop)()
		return server.Serve(listener)
	})
	return listener.Addr().String()
}

// rawCore records what it is handed back, and answers what it is told to.
type rawCore struct {
	interlockv1.UnimplementedTableServiceServer
	changes bool
	puts    chan *interlockv1.PutBundleRequest
	answer  func(*interlockv1.PutBundleRequest) (*interlockv1.PutBundleResponse, error)
}

func (c *rawCore) WatchTables(_ *interlockv1.WatchTablesRequest, stream grpc.ServerStreamingServer[interlockv1.WatchTablesResponse]) error {
	table := tableFor("a.example.com")
	message := &interlockv1.WatchTablesResponse{
		Generation: 1, Version: table.Version(), Table: wire.TableMessage(table), Parameters: &interlockv1.ProxyParameters{Port: 80}, Changes: c.changes,
	}
	if err := stream.Send(message); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (c *rawCore) PutBundle(_ context.Context, request *interlockv1.PutBundleRequest) (*interlockv1.PutBundleResponse, error) {
	c.puts <- request
	if c.answer == nil {
		return &interlockv1.PutBundleResponse{}, nil
	}
	return c.answer(request)
}

// watching is an extension's client that follows the tables of a raw core.
func watching(t *testing.T, c *rawCore) *rpc.CoreClient {
	t.Helper()
	authority := newAuthority(t)
	c.puts = make(chan *interlockv1.PutBundleRequest, 100)
	endpoint := serveRaw(t, authority.identity(theCore), pki.RoleExtension, func(s *grpc.Server) { interlockv1.RegisterTableServiceServer(s, c) })
	client, err := rpc.DialCore(endpoint, authority.identity(eastExt))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	first := make(chan render.Publication, 1)
	background(t, func(ctx context.Context) error {
		_ = client.Watch(ctx, func(p render.Publication) { first <- p }) // it ends with ctx
		return nil
	})
	receive(t, first, "the first table")
	return client
}

func handBack(t *testing.T, client *rpc.CoreClient, b render.Bundle) {
	t.Helper()
	if err := client.PutBundle(t.Context(), 1, "table", render.Result{Bundle: b}); err != nil {
		t.Fatal(err)
	}
}

func TestAnExtensionHandsBackWhatChanged(t *testing.T) {
	core := &rawCore{changes: true}
	client := watching(t, core)
	one, two := shelfOf("one"), shelfOf("two")
	handBack(t, client, one)
	if got := receive(t, core.puts, "the first bundle"); got.GetBundle().GetVersion() != one.Version() {
		t.Errorf("the first one is %v", got)
	}
	handBack(t, client, two)
	change := receive(t, core.puts, "the change").GetChange()
	if change.GetBase() != one.Version() || change.GetVersion() != two.Version() || len(change.GetFiles()) != 1 {
		t.Errorf("the second one is the change %v", change)
	}
}

func TestAnExtensionHandsBackTheWholeBundleToACoreThatCannotUseAChange(t *testing.T) {
	for name, answer := range map[string]func() (*interlockv1.PutBundleResponse, error){
		"it lacks the base": func() (*interlockv1.PutBundleResponse, error) {
			return &interlockv1.PutBundleResponse{BaseUnknown: true}, nil
		},
		"it makes no sense of it": func() (*interlockv1.PutBundleResponse, error) {
			return nil, status.Error(codes.InvalidArgument, "what?")
		},
	} {
		t.Run(name, func(t *testing.T) {
			core := &rawCore{changes: true, answer: func(request *interlockv1.PutBundleRequest) (*interlockv1.PutBundleResponse, error) {
				if request.GetChange() != nil {
					return answer()
				}
				return &interlockv1.PutBundleResponse{}, nil
			}}
			client := watching(t, core)
			handBack(t, client, shelfOf("one"))
			handBack(t, client, shelfOf("two"))
			receive(t, core.puts, "the first bundle")
			if got := receive(t, core.puts, "a change"); got.GetChange() == nil {
				t.Errorf("got %v", got)
			}
			two := shelfOf("two")
			if got := receive(t, core.puts, "a bundle"); got.GetBundle().GetVersion() != two.Version() || got.GetTableVersion() != "table" {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestACoreThatTakesNoChangesIsHandedWholeBundlesWithoutAVersion(t *testing.T) {
	core := &rawCore{}
	client := watching(t, core)
	for _, word := range []string{"one", "two"} {
		handBack(t, client, shelfOf(word))
		if got := receive(t, core.puts, "a bundle"); got.GetBundle() == nil || got.GetBundle().GetVersion() != "" {
			t.Errorf("got %v", got)
		}
	}
}

func TestTheCoreHasTheBundleThatWasRenderedHoweverItTravelled(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, stop := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), shelf{})
	publish := func(tables *fakeTables, generation uint64, table *route.Table) {
		t.Helper()
		tables.publishTable("us-east", generation, table)
		want, err := shelf{}.Render(table, render.Parameters{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := receive(t, tables.answers, "a bundle"); got.generation != generation || got.bundle.Version() != want.Version() {
			t.Errorf("generation %d is answered with %+v", generation, got)
		}
	}
	for i := range 20 {
		publish(tables, uint64(i+1), moved(manyHosts(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)))
	}
	stop()
	fresh := newFakeTables()
	fresh.publishTable("us-east", 1, manyHosts())
	serveTables(t, fresh, authority, endpoint, silent())
	receive(t, fresh.answers, "a bundle for the core that was started anew")
	publish(fresh, 2, moved(manyHosts(), elsewhere))
}

func TestAChangeOfWhatTheCoreWasNotHandedIsNotTaken(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	tables.publish("us-east", 1, "a.example.com")
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	client := interlockv1.NewTableServiceClient(dialRaw(t, endpoint, authority.identity(eastExt), theCore))
	one, two, three := shelfOf("one"), shelfOf("two"), shelfOf("three")
	put := func(request *interlockv1.PutBundleRequest) *interlockv1.PutBundleResponse {
		t.Helper()
		request.TableVersion = "table"
		response, err := client.PutBundle(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	change := wire.ResultMessage(&render.Result{Bundle: two}, wire.BundleChangeMessage(&one, one.Version(), &two, two.Version()))
	whole := wire.ResultMessage(&render.Result{Bundle: one}, nil)
	put(whole)
	if !put(change).GetBaseUnknown() {
		t.Error("a change is taken from who does not follow the tables")
	}
	stream, err := client.WatchTables(t.Context(), &interlockv1.WatchTablesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if message, err := stream.Recv(); err != nil || !message.GetChanges() {
		t.Errorf("the core does not say that it takes changes: %v, %v", message, err)
	}
	put(whole)
	if put(change).GetBaseUnknown() {
		t.Error("a change of the last bundle is not taken")
	}
	late := wire.BundleChangeMessage(&one, one.Version(), &three, three.Version())
	if !put(wire.ResultMessage(&render.Result{Bundle: three}, late)).GetBaseUnknown() {
		t.Error("a change of the bundle before the last is taken")
	}
	var got []string
	for len(tables.answers) > 0 {
		b := (<-tables.answers).bundle
		got = append(got, b.Version())
	}
	if want := []string{one.Version(), one.Version(), two.Version()}; !slices.Equal(got, want) {
		t.Errorf("the core has %v, want %v", got, want)
	}
}
