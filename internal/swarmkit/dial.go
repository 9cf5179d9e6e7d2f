package swarmkit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

const (
	// serverName is what a manager's certificate names besides its node.
	serverName = "swarm-manager"
	// maxMessage bounds one answer, in bytes. A larger list is read in parts.
	maxMessage = 32 << 20
)

// dial prepares a connection to the socket. The root is asked for every time,
// since Swarm's can be replaced while we run.
func (s *Source) dial(ctx context.Context) (*grpc.ClientConn, error) {
	if _, err := os.Stat(s.opts.Socket); err != nil {
		return nil, fmt.Errorf("SwarmKit's control socket cannot be used: %w", err)
	}
	root, err := s.root(ctx)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		return nil, errors.New("the Docker API gives no certificate in PEM form as the Swarm's root")
	}
	secure := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: serverName, NextProtos: []string{"h2"},
	}}
	conn, err := grpc.NewClient("passthrough:"+serverName,
		// TLS is the dialer's business: gRPC's own refuses a server that does not
		// negotiate h2, as managers of Engine 20.10 do not any more once their
		// certificate has been renewed.
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return secure.DialContext(ctx, "unix", s.opts.Socket)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.ForceCodecV2(codec{})),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, fmt.Errorf("SwarmKit's control socket cannot be used: %w", err)
	}
	return conn, nil
}

// root is the one that there was last while the Docker API does not tell.
func (s *Source) root(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	root, err := s.opts.Root(ctx)
	if err == nil {
		s.lastRoot.Store(&root)
		return root, nil
	}
	if last := s.lastRoot.Load(); last != nil {
		return *last, nil
	}
	return nil, fmt.Errorf("asking for the Swarm's root certificate: %w", err)
}

// codec is gRPC's own for protocol buffers, but that it drops the fields that
// our messages do not have: they are most of what a manager sends, and among
// them are the bytes of secrets.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no protobuf message", v)
	}
	data, err := proto.Marshal(message)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no protobuf message", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(buffer.ReadOnlyData(), message)
}
