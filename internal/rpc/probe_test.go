package rpc_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
)

// vacant is an address at which nobody listens yet.
func vacant(t *testing.T) netip.AddrPort {
	t.Helper()
	listener := listen(t, "127.0.0.1:0")
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// awaitAnswer asks until what is known is as a test wants it.
func awaitAnswer(t *testing.T, d *delivery.Deliverer, what string, addresses []netip.AddrPort, want func(admission.Answer) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		_, outdated := d.Statuses()
		answer := d.Probe("us-east", addresses)
		if want(answer) {
			return
		}
		select {
		case <-outdated:
		case <-deadline:
			t.Fatalf("it never came about that %s; the answer is %+v", what, answer)
		}
	}
}

func accepts(address netip.AddrPort) func(admission.Answer) bool {
	return func(a admission.Answer) bool { return a.Accepts[address] }
}

func TestAProxySaysWhoAcceptsConnections(t *testing.T) {
	authority := newAuthority(t)
	address, _ := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, nil)
	late, never := vacant(t), vacant(t)
	asked := []netip.AddrPort{late, never}
	awaitAnswer(t, d, "somebody asks", asked, func(a admission.Answer) bool { return a.Asked })
	if a := d.Probe("us-east", asked); a.Accepts[late] || a.Accepts[never] {
		t.Errorf("nobody listens, and yet: %+v", a)
	}
	app := listen(t, late.String())
	t.Cleanup(func() { _ = app.Close() })
	awaitAnswer(t, d, "the app accepts", asked, accepts(late))
	if a := d.Probe("us-east", asked); a.Accepts[never] {
		t.Errorf("nobody listens, and yet: %+v", a)
	}
	// What is asked later, over the same stream or another one, is answered too.
	d.Probe("us-east", nil)
	next := listen(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = next.Close() })
	there := netip.MustParseAddrPort(next.Addr().String())
	awaitAnswer(t, d, "the next app accepts", []netip.AddrPort{there}, accepts(there))
}

func TestWhileNoProxyIsConnectedNobodyAsks(t *testing.T) {
	authority := newAuthority(t)
	d := runDeliverer(t, authority, authority.identity(theCore))
	address, stop := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", silent())
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, nil)
	asked := []netip.AddrPort{vacant(t)}
	awaitAnswer(t, d, "the proxy asks", asked, func(a admission.Answer) bool { return a.Asked })
	stop()
	awaitAnswer(t, d, "nobody asks", asked, func(a admission.Answer) bool { return !a.Asked })
	if a := d.Probe("us-west", asked); a.Asked {
		t.Error("a cluster without proxies asks")
	}
}

func TestOneOfSeveralProxiesIsEnough(t *testing.T) {
	authority := newAuthority(t)
	var proxies []delivery.Proxy
	// More than are asked at a time, the first of which never get a connection.
	for _, task := range []string{"a", "b", "c", "d"} {
		to, stop := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", silent())
		if task != "d" {
			stop()
		}
		proxies = append(proxies, at(task, to))
	}
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", proxies, nil)
	app := listen(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = app.Close() })
	there := netip.MustParseAddrPort(app.Addr().String())
	awaitAnswer(t, d, "the app accepts", []netip.AddrPort{there}, accepts(there))
}

// older is an agent that does not know of probes.
type older struct {
	interlockv1.UnimplementedAgentServiceServer
}

func (older) WatchStatus(_ *interlockv1.WatchStatusRequest, stream grpc.ServerStreamingServer[interlockv1.WatchStatusResponse]) error {
	if err := stream.Send(&interlockv1.WatchStatusResponse{BundleVersion: "its own"}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func TestAnAgentThatCannotAskIsNotWaitedFor(t *testing.T) {
	authority := newAuthority(t)
	listener := listen(t, "127.0.0.1:0")
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(authority.identity(eastProx).ServerConfigOptionalClient(pki.RoleCore))))
	interlockv1.RegisterAgentServiceServer(server, older{})
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, server.Stop)()
		return server.Serve(listener)
	})
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", netip.MustParseAddrPort(listener.Addr().String()))}, nil)
	connected := func(s []delivery.Status) bool { return len(s) == 1 && s[0].Connected }
	awaitStatus(t, d, "the proxy is connected", connected)
	app := listen(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = app.Close() })
	asked := []netip.AddrPort{netip.MustParseAddrPort(app.Addr().(*net.TCPAddr).String())}
	d.Probe("us-east", asked)
	awaitAnswer(t, d, "it is known that it cannot", asked, func(a admission.Answer) bool { return !a.Asked })
	if s, _ := d.Statuses(); !connected(s) {
		t.Error("the connection was given up for it")
	}
}

func TestNonsenseIsNotAskedAbout(t *testing.T) {
	authority := newAuthority(t)
	address, _ := serveAgent(t, newFakeAgent(), authority.identity(eastProx), "127.0.0.1:0", silent())
	many := make([]string, admission.MaxAddresses+1)
	for i := range many {
		many[i] = "127.0.0.1:1"
	}
	for name, asked := range map[string][]string{"a name": {"app:80"}, "too many": many} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client := interlockv1.NewAgentServiceClient(dialRaw(t, address.String(), authority.identity(theCore), eastProx))
			stream, err := client.Probe(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&interlockv1.ProbeRequest{Round: 1, Addresses: asked}); err != nil {
				t.Fatal(err)
			}
			if got, err := stream.Recv(); err == nil || ctx.Err() != nil {
				t.Errorf("the answer is %v, %v", got, err)
			}
		})
	}
}
