// Package rpc is the control channel: the core's gRPC server and the extension's
// client of it, and the server of the agent that the core dials. It turns
// messages into our own types and checks them and whoever sends them.
//
// It holds no tables, applies no bundles and issues no identities; of bundles it
// remembers the last one of each extension's connection, of which the next one may
// be a change. It does not dial proxies, which package delivery does.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/wire"
)

const (
	stopLimit  = 5 * time.Second // for the calls that are under way at the end
	maxHeaders = 64 << 10        // bytes, of one call
)

// newGRPCServer makes a server for connections that have passed a gate. Only
// callers of the given role are answered, and on one connection as many calls at
// a time as there are streams.
func newGRPCServer(role pki.Role, streams uint32) *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(established{}),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := demand(ctx, role); err != nil {
				return nil, err
			}
			return handle(ctx, request)
		}),
		grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := demand(stream.Context(), role); err != nil {
				return err
			}
			return handle(server, stream)
		}),
		grpc.MaxRecvMsgSize(wire.MaxMessage),
		grpc.MaxSendMsgSize(wire.MaxMessage),
		grpc.MaxConcurrentStreams(streams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeLimit),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: wire.KeepaliveInterval, Timeout: wire.KeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: wire.KeepaliveMin, PermitWithoutStream: true}),
	)
}

// caller is who makes a call, by the certificate of the connection.
func caller(ctx context.Context) (pki.Name, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return pki.Name{}, status.Error(codes.Unauthenticated, "the call has no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return pki.Name{}, status.Error(codes.Unauthenticated, "the call did not come over TLS")
	}
	name, err := pki.PeerName(info.State)
	if err != nil {
		return pki.Name{}, status.Error(codes.Unauthenticated, err.Error())
	}
	return name, nil
}

// callerAddress tells connections apart.
func callerAddress(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

func demand(ctx context.Context, role pki.Role) error {
	name, err := caller(ctx)
	if err != nil {
		return err
	}
	if name.Role != role {
		return status.Errorf(codes.PermissionDenied, "%s may not call this: it is for the role %s", name, role)
	}
	return nil
}

// invalid is the answer to a message that cannot be read.
func invalid(err error) error { return status.Error(codes.InvalidArgument, wire.Reason(err.Error())) }

// stopping is the answer to streams that end with this process.
func stopping() error { return status.Error(codes.Unavailable, "this process is stopping") }

// serveGRPC serves until ctx ends; calls under way then have stopLimit to finish.
func serveGRPC(ctx context.Context, server *grpc.Server, listener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("serving gRPC on %s: %w", listener.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		force := time.AfterFunc(stopLimit, server.Stop)
		defer force.Stop()
		server.GracefulStop()
		return nil
	})
	return group.Wait()
}
