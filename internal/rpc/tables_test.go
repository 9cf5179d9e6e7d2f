package rpc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/material"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// toy renders the host names of a table; one named "bad" it cannot.
type toy struct{ size int }

func (r toy) Render(t *route.Table, p render.Parameters, _ render.Credentials) (render.Bundle, error) {
	if t.Hosts[0].Name == "bad" {
		return render.Bundle{}, errors.New("host bad: \xff is no name")
	}
	content := append([]byte(t.Hosts[0].Name), make([]byte, r.size)...)
	return render.Bundle{Token: p.Config["User"].(string), Files: []render.File{{Path: "/hosts", Mode: 0o644, Content: render.NewContent(content)}}}, nil
}

func runExtension(t *testing.T, endpoint string, identity *pki.Identity, renderer extension.Renderer) {
	t.Helper()
	core, err := rpc.DialCore(endpoint, identity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = core.Close() })
	e := extension.New(extension.Options{Core: core, Renderer: renderer, Materials: material.Folder(t.TempDir()), Identity: identity, Logger: silent()})
	background(t, e.Run)
}

func TestAnExtensionAnswersEveryTableOfItsClusterWithABundle(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{})
	tables.publish("us-west", 1, "west.example.com")
	tables.publish("us-east", 2, "east.example.com")
	got := receive(t, tables.answers, "a bundle")
	if got.cluster != "us-east" || got.generation != 2 || got.version != tableFor("east.example.com").Version() {
		t.Errorf("got the bundle of %s, generation %d, table %s", got.cluster, got.generation, got.version)
	}
	if got.bundle.Token != "nginx" || string(got.bundle.Files[0].Data()) != "east.example.com" {
		t.Errorf("got bundle %+v", got.bundle)
	}
	tables.publish("us-east", 3, "next.example.com")
	if got := receive(t, tables.answers, "the next bundle"); string(got.bundle.Files[0].Data()) != "next.example.com" {
		t.Errorf("got bundle %+v", got.bundle)
	}
}

func TestAnExtensionSaysWhatItCannotRender(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{})
	tables.publish("us-east", 1, "bad")
	if got := receive(t, tables.answers, "a failure"); got.failure != "host bad: \uFFFD is no name" {
		t.Errorf("got failure %q", got.failure)
	}
}

func TestAnExtensionSaysThatATableCannotBeRead(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{})
	tables.publish("us-east", 1, "")
	if got := receive(t, tables.answers, "a failure"); !strings.Contains(got.failure, `host "": it has no name`) {
		t.Errorf("got failure %q", got.failure)
	}
}

func TestABundleOfTwentyMegabytesReachesTheCore(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{size: 20 << 20})
	tables.publish("us-east", 1, "a.example.com")
	if got := receive(t, tables.answers, "a bundle"); got.bundle.Size() < 20<<20 {
		t.Errorf("got %d bytes, failure %q", got.bundle.Size(), got.failure)
	}
}

func TestABundleThatIsTooBigIsReportedAsAFailure(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{size: 65 << 20})
	tables.publish("us-east", 1, "a.example.com")
	if got := receive(t, tables.answers, "a failure"); !strings.Contains(got.failure, "larger than max") {
		t.Errorf("got %d bytes, failure %q", got.bundle.Size(), got.failure)
	}
}

func TestACoreThatStartsAnewIsToldEverythingAgain(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, stop := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	runExtension(t, endpoint, authority.identity(eastExt), toy{})
	tables.publish("us-east", 7, "a.example.com")
	receive(t, tables.answers, "a bundle")
	stop()
	fresh := newFakeTables()
	fresh.publish("us-east", 1, "a.example.com")
	serveTables(t, fresh, authority, endpoint, silent())
	if got := receive(t, fresh.answers, "a bundle"); got.generation != 1 || string(got.bundle.Files[0].Data()) != "a.example.com" {
		t.Errorf("got generation %d, bundle %+v", got.generation, got.bundle)
	}
}

func TestACoreThatStopsTellsItsExtensions(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	tables.publish("us-east", 1, "a.example.com")
	endpoint, stop := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	core, err := rpc.DialCore(endpoint, authority.identity(eastExt))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = core.Close() }()
	err = core.Watch(t.Context(), func(render.Publication) { go stop() })
	if err == nil || !strings.Contains(err.Error(), "this process is stopping") {
		t.Errorf("watching ended with: %v", err)
	}
}

func TestAnExtensionRenewsItsIdentityOverTheOpenChannel(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	identity := authority.shortLived(eastExt, 2*time.Second)
	first := identity.Expires()
	runExtension(t, endpoint, identity, toy{})
	eventually(t, "the identity is renewed", func() bool { return identity.Expires().After(first.Add(time.Minute)) })
	tables.publish("us-east", 1, "a.example.com")
	receive(t, tables.answers, "a bundle after the renewal")
}

func TestTheCoreAnswersOnlyItsOwnExtensions(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	tables.publish("us-east", 1, "a.example.com")
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	for name, identity := range map[string]*pki.Identity{
		"a foreign authority": newAuthority(t).identity(eastExt),
		"a proxy":             authority.identity(eastProx),
		"another core":        authority.identity(theCore),
	} {
		t.Run(name, func(t *testing.T) {
			core, err := rpc.DialCore(endpoint, identity)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = core.Close() }()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = core.Watch(ctx, func(render.Publication) { t.Error("it was given a table") })
			if status.Code(err) != codes.Unavailable {
				t.Errorf("watching ended with: %v", err)
			}
		})
	}
}

func TestARequestThatMakesNoSenseIsRefusedInWords(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	client := interlockv1.NewTableServiceClient(dialRaw(t, endpoint, authority.identity(eastExt), theCore))
	bundle := &interlockv1.Bundle{Files: []*interlockv1.File{{Path: "relative"}}}
	for want, request := range map[string]*interlockv1.PutBundleRequest{
		"which table":              {Result: &interlockv1.PutBundleRequest_Failure{Failure: "x"}},
		"neither a bundle":         {TableVersion: "v"},
		"the path must be":         {TableVersion: "v", Result: &interlockv1.PutBundleRequest_Bundle{Bundle: bundle}},
		"no bundle in the message": {TableVersion: "v", Result: &interlockv1.PutBundleRequest_Bundle{}},
	} {
		_, err := client.PutBundle(t.Context(), request)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	_, err := client.RenewIdentity(t.Context(), &interlockv1.RenewIdentityRequest{CertificateRequest: []byte("x")})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a certificate request that is none: %v", err)
	}
	if len(tables.answers) != 0 {
		t.Errorf("the core was handed %+v", <-tables.answers)
	}
}

// dialRaw is a client that sends what it likes.
func dialRaw(t *testing.T, endpoint string, identity *pki.Identity, peer pki.Name) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+endpoint, grpc.WithTransportCredentials(credentials.NewTLS(identity.ClientConfig(peer))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
