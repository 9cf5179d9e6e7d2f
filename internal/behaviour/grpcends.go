package behaviour

import (
	"context"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/interlock-lb/interlock/internal/route"
)

// grpcEnds ends calls before they are over, from either side.
func grpcEnds(plain *suite) {
	s := newSecure(plain)
	app, u := s.grpcServer(nil)
	client := s.speaksGRPC(u)
	cancelled, cancel := context.WithCancel(s.withPatience())
	defer cancel()
	for _, want := range []codes.Code{codes.Canceled, codes.DeadlineExceeded} {
		ctx := cancelled
		if want == codes.DeadlineExceeded {
			expiring, expire := context.WithTimeout(s.withPatience(), 2*time.Second)
			defer expire()
			ctx = expiring
		}
		call, err := client.FullDuplexCall(ctx)
		if err != nil {
			s.Fatal(err)
		}
		if err := call.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
			s.Fatal(err)
		}
		if _, err := call.Recv(); err != nil {
			s.Fatal(err)
		}
		// The app waits for more.
		if want == codes.Canceled {
			cancel()
		}
		if _, err := call.Recv(); status.Code(err) != want {
			s.Errorf("the client has %v, want %v", err, want)
		}
		select {
		case err := <-app.ended:
			if err == nil {
				s.Errorf("%v: the app has taken the client's end for a good one", want)
			}
		case <-time.After(patience):
			s.Fatalf("%v: the app is not told that the client has gone", want)
		}
	}
	call, err := client.FullDuplexCall(s.withPatience())
	if err != nil {
		s.Fatal(err)
	}
	enough := &grpc_testing.StreamingOutputCallRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.ResourceExhausted)}}
	if err := call.Send(enough); err != nil {
		s.Fatal(err)
	}
	if _, err := call.Recv(); status.Code(err) != codes.ResourceExhausted {
		s.Errorf("%v, want what the app ends the call with while the client may go on", err)
	}
}

// What the proxy itself answers is no gRPC. Clients take 502, 503 and 504 without
// it for UNAVAILABLE, as gRPC's mapping of HTTP statuses says.
func grpcNobody(plain *suite) {
	s := newSecure(plain)
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	refusing.Close()
	for what, endpoints := range map[string][]route.Endpoint{"no task": nil, "a task that refuses connections": {{Addr: netip.MustParseAddrPort(refusing.Addr().String())}}} {
		client := s.speaksGRPC(route.Upstream{Name: "app", HTTP2: true, Endpoints: endpoints})
		if _, err := client.UnaryCall(s.withPatience(), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Unavailable {
			s.Errorf("%s: %v, want %v", what, err, codes.Unavailable)
		}
		call, err := client.FullDuplexCall(s.withPatience())
		if err != nil {
			s.Fatal(err)
		}
		if _, err := call.Recv(); status.Code(err) != codes.Unavailable {
			s.Errorf("%s, many to many: %v, want %v", what, err, codes.Unavailable)
		}
	}
}
