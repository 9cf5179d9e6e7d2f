package behaviour

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/interlock-lb/interlock/internal/route"
)

// remote is an app that speaks gRPC.
type remote struct {
	grpc_testing.UnimplementedTestServiceServer
	// ended gets why each full-duplex call has ended.
	ended chan error
}

func payload(size int32) *grpc_testing.Payload {
	return &grpc_testing.Payload{Body: bytes.Repeat([]byte{'x'}, int(size))}
}

// UnaryCall answers with as much as is asked for, or with a status, and returns
// the metadata that it gets as trailers too.
func (*remote) UnaryCall(ctx context.Context, q *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	given, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetTrailer(ctx, metadata.MD{"x-trailing": given["x-given"], "x-trailing-bin": given["x-given-bin"]}); err != nil {
		return nil, err
	}
	if s := q.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage())
	}
	if err := grpc.SetHeader(ctx, metadata.MD{"x-leading": given["x-given"]}); err != nil {
		return nil, err
	}
	return &grpc_testing.SimpleResponse{Payload: payload(q.GetResponseSize()), Username: fmt.Sprint(len(q.GetPayload().GetBody()))}, nil
}

// StreamingOutputCall answers once for each size that is asked for.
func (*remote) StreamingOutputCall(q *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	for _, p := range q.GetResponseParameters() {
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: payload(p.GetSize())}); err != nil {
			return err
		}
	}
	return nil
}

// StreamingInputCall tells how much it got in all.
func (*remote) StreamingInputCall(s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	total := 0
	for {
		q, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			return err
		}
		total += len(q.GetPayload().GetBody())
	}
}

// FullDuplexCall answers each request as it comes. Its header goes out before the
// first.
func (r *remote) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	err := s.SendHeader(metadata.Pairs("x-ready", "yes"))
	for err == nil {
		var q *grpc_testing.StreamingOutputCallRequest
		if q, err = s.Recv(); err != nil {
			break
		}
		if err = status.Error(codes.Code(q.GetResponseStatus().GetCode()), "enough"); err == nil {
			err = s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: q.GetPayload()})
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	select {
	case r.ended <- err:
	default:
	}
	return err
}

// grpcServer runs an app that speaks gRPC, over TLS if there is a configuration.
func (s secure) grpcServer(config *tls.Config) (*remote, route.Upstream) {
	s.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	u := route.Upstream{Name: "app", HTTP2: true, Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort(listener.Addr().String())}}}
	var options []grpc.ServerOption
	if config != nil {
		u.TLS = &route.TLS{Verify: route.VerifyNone}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	app, server := &remote{ended: make(chan error, 1)}, grpc.NewServer(options...)
	grpc_testing.RegisterTestServiceServer(server, app)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			s.Errorf("the app ended with: %v", err)
		}
	})
	return app, u
}

// speaksGRPC serves an upstream as a.test, and returns a client of it.
func (s secure) speaksGRPC(u route.Upstream) grpc_testing.TestServiceClient {
	s.Helper()
	s.uses(&route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("app")}},
		Upstreams: []route.Upstream{u},
	})
	connection, err := grpc.NewClient(s.proxy.SecureAddress(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.authority.Pool(), ServerName: "a.test"})))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = connection.Close() })
	return grpc_testing.NewTestServiceClient(connection)
}

func (s secure) withPatience() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

func grpcWays(plain *suite) {
	s := newSecure(plain)
	chain, key := s.authority.Issue(s, []string{"task"})
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		s.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{"h2c": nil, "h2": {Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}} {
		_, u := s.grpcServer(config)
		client, ctx := s.speaksGRPC(u), s.withPatience()
		answer, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: payload(100), ResponseSize: 50})
		if err != nil || answer.GetUsername() != "100" || len(answer.GetPayload().GetBody()) != 50 {
			s.Errorf("%s, one to one: %v, %v", name, answer, err)
		}
		s.manyToOne(name, client)
		s.oneToMany(name, client)
		s.manyToMany(name, client)
	}
}

func (s secure) manyToOne(name string, client grpc_testing.TestServiceClient) {
	s.Helper()
	call, err := client.StreamingInputCall(s.withPatience())
	if err != nil {
		s.Fatal(err)
	}
	for range 100 {
		if err := call.Send(&grpc_testing.StreamingInputCallRequest{Payload: payload(1000)}); err != nil {
			s.Fatalf("%s, many to one: %v", name, err)
		}
	}
	if answer, err := call.CloseAndRecv(); err != nil || answer.GetAggregatedPayloadSize() != 100_000 {
		s.Errorf("%s, many to one: %v, %v", name, answer, err)
	}
}

func (s secure) oneToMany(name string, client grpc_testing.TestServiceClient) {
	s.Helper()
	ask, total := &grpc_testing.StreamingOutputCallRequest{}, 0
	for size := range int32(200) {
		ask.ResponseParameters = append(ask.ResponseParameters, &grpc_testing.ResponseParameters{Size: size * 50})
		total += int(size) * 50
	}
	call, err := client.StreamingOutputCall(s.withPatience(), ask)
	if err != nil {
		s.Fatal(err)
	}
	for {
		answer, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.Fatalf("%s, one to many: %v", name, err)
		}
		total -= len(answer.GetPayload().GetBody())
	}
	if total != 0 {
		s.Errorf("%s, one to many: %d bytes too few", name, total)
	}
}

// manyToMany says nothing before it was answered, so that whatever is held back on
// the way would end it.
func (s secure) manyToMany(name string, client grpc_testing.TestServiceClient) {
	s.Helper()
	call, err := client.FullDuplexCall(s.withPatience())
	if err != nil {
		s.Fatal(err)
	}
	// nginx keeps it until there is a message. Both may wait for each other then, so
	// that to send it at once is right.
	if s.kind == Native {
		if header, err := call.Header(); err != nil || len(header["x-ready"]) != 1 {
			s.Fatalf("%s, many to many: the header before any message: %v, %v", name, header, err)
		}
	}
	for size := range int32(50) {
		if err := call.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload(size * 300)}); err != nil {
			s.Fatalf("%s, many to many: %v", name, err)
		}
		if answer, err := call.Recv(); err != nil || len(answer.GetPayload().GetBody()) != int(size)*300 {
			s.Fatalf("%s, many to many: %v, %v", name, answer, err)
		}
	}
	if err := call.CloseSend(); err != nil {
		s.Fatal(err)
	}
	if _, err := call.Recv(); !errors.Is(err, io.EOF) {
		s.Errorf("%s, many to many: %v, want the end", name, err)
	}
}

func grpcStatuses(plain *suite) {
	s := newSecure(plain)
	_, u := s.grpcServer(nil)
	client := s.speaksGRPC(u)
	given := metadata.Pairs("x-given", "1", "x-given", "2", "x-given-bin", "\x00\xff")
	ctx := metadata.NewOutgoingContext(s.withPatience(), given)
	for _, want := range []*grpc_testing.EchoStatus{nil, {Code: int32(codes.NotFound), Message: "nothing of \"that\" name, ünicode\tand 100 %"}, {Code: int32(codes.Unauthenticated)}} {
		var leading, trailing metadata.MD
		_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseStatus: want}, grpc.Header(&leading), grpc.Trailer(&trailing))
		if got := status.Convert(err); int32(got.Code()) != want.GetCode() || got.Message() != want.GetMessage() {
			s.Errorf("the app's status %v arrives as %v", want, err)
		}
		if fmt.Sprint(trailing["x-trailing"], trailing["x-trailing-bin"]) != "[1 2] [\x00\xff]" {
			s.Errorf("%v: the trailing metadata is %q", want, trailing)
		}
		if want == nil && (fmt.Sprint(leading["x-leading"]) != "[1 2]" || len(leading["x-request-id"]) != 1) {
			s.Errorf("the leading metadata is %q", leading)
		}
	}
}

func grpcLarge(plain *suite) {
	s := newSecure(plain)
	_, u := s.grpcServer(nil)
	client := s.speaksGRPC(u)
	const most = 4<<20 - 1<<10 // of one message, as gRPC's libraries have it by default
	answer, err := client.UnaryCall(s.withPatience(), &grpc_testing.SimpleRequest{Payload: payload(most), ResponseSize: 4<<20 - 1<<10})
	if err != nil || answer.GetUsername() != fmt.Sprint(most) || len(answer.GetPayload().GetBody()) != 4<<20-1<<10 {
		s.Errorf("%q, %d bytes, %v", answer.GetUsername(), len(answer.GetPayload().GetBody()), err)
	}
}

// grpcGoesOn sends more in one call than the content of a request may have: it is a
// conversation, whose messages the app bounds one by one.
func grpcGoesOn(plain *suite) {
	s := newSecure(plain)
	_, u := s.grpcServer(nil)
	const messages, size = 50, 100_000
	call, err := s.speaksGRPC(u).StreamingInputCall(s.withPatience())
	if err != nil {
		s.Fatal(err)
	}
	for i := range messages {
		if err := call.Send(&grpc_testing.StreamingInputCallRequest{Payload: payload(size)}); err != nil {
			s.Fatalf("message %d: %v", i, err)
		}
	}
	if answer, err := call.CloseAndRecv(); err != nil || answer.GetAggregatedPayloadSize() != messages*size {
		s.Errorf("%v, %v", answer, err)
	}
}
