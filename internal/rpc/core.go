package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

const connectLimit = 5 * time.Second // for one attempt, the TLS handshake included

// reconnect is the delay between two attempts to reach the core.
var reconnect = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}

// CoreClient is the core, as an extension reaches it over the network.
type CoreClient struct {
	conn   *grpc.ClientConn
	tables interlockv1.TableServiceClient
	taken  taken
}

var _ extension.Core = (*CoreClient)(nil)

// DialCore prepares a connection to the core at HOST:PORT. It returns at once:
// the connection is made when it is needed, and made again when it breaks.
func DialCore(endpoint string, identity *pki.Identity) (*CoreClient, error) {
	if _, _, err := net.SplitHostPort(endpoint); err != nil {
		return nil, fmt.Errorf("the core's endpoint %q is not HOST:PORT: %w", endpoint, err)
	}
	conn, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(credentials.NewTLS(identity.ClientConfig(pki.Name{Role: pki.RoleCore}))),
		// A dialler of our own also keeps gRPC from asking the environment for an
		// HTTP proxy; it asks for the host's addresses each time.
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectLimit}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: wire.KeepaliveInterval, Timeout: wire.KeepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(wire.MaxMessage), grpc.MaxCallRecvMsgSize(wire.MaxMessage)),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, fmt.Errorf("the core's endpoint %q: %w", endpoint, err)
	}
	return &CoreClient{conn: conn, tables: interlockv1.NewTableServiceClient(conn)}, nil
}

// Close ends the connection and all calls.
func (c *CoreClient) Close() error { return c.conn.Close() }

// Watch implements extension.Core. A publication that cannot be read is not
// passed on: the core is told why instead.
func (c *CoreClient) Watch(ctx context.Context, next func(render.Publication)) error {
	stream, err := c.tables.WatchTables(ctx, &interlockv1.WatchTablesRequest{Changes: true})
	if err != nil {
		return fmt.Errorf("watching the core's tables: %w", plain(err))
	}
	c.taken.begin()
	var last render.Publication // as understood
	for {
		message, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watching the core's tables: %w", plain(err))
		}
		if change := message.GetChange(); change != nil && (last.Table == nil || change.GetBase() != last.Version) {
			return errors.New("watching the core's tables: the one that has changed is not known, so all of it is asked for")
		}
		publication, err := readPublication(message, last.Table)
		if err != nil {
			last = render.Publication{}
			if err := c.PutFailure(ctx, message.GetGeneration(), message.GetVersion(), err.Error()); err != nil {
				return err
			}
			continue
		}
		last = publication
		c.taken.hear(message.GetChanges())
		next(publication)
	}
}

// readPublication takes the table before, of which a message may have the changes.
func readPublication(message *interlockv1.WatchTablesResponse, before *route.Table) (render.Publication, error) {
	var table *route.Table
	var err error
	if change := message.GetChange(); change != nil {
		table, err = wire.Change(before, change)
	} else {
		table, err = wire.Table(message.GetTable())
	}
	if err != nil {
		return render.Publication{}, fmt.Errorf("the core's table cannot be read: %w", err)
	}
	parameters, err := wire.Parameters(message.GetParameters())
	if err != nil {
		return render.Publication{}, fmt.Errorf("the core's parameters cannot be read: %w", err)
	}
	return render.Publication{
		Generation: message.GetGeneration(), Version: message.GetVersion(), Table: table, Parameters: parameters,
	}, nil
}

// PutBundle implements extension.Core. The core is sent what the bundle changes of
// the one that it took before, where it knows that one, and else all of it.
func (c *CoreClient) PutBundle(ctx context.Context, generation uint64, tableVersion string, r render.Result) error {
	version := r.Bundle.Version()
	request := func(change *interlockv1.BundleChange) *interlockv1.PutBundleRequest {
		message := wire.ResultMessage(&r, change)
		message.Generation, message.TableVersion = generation, tableVersion
		return message
	}
	err := errBaseUnknown
	if change := c.taken.change(&r.Bundle, version); change != nil {
		err = c.put(ctx, request(change))
	}
	if errors.Is(err, errBaseUnknown) || errors.Is(err, extension.ErrRejected) {
		whole := request(nil)
		if !c.taken.mayChange() {
			whole.GetBundle().Version = "" // the core would expect the former one
		}
		err = c.put(ctx, whole)
	}
	if err == nil {
		c.taken.took(r.Bundle, version)
	}
	return err
}

// PutFailure implements extension.Core.
func (c *CoreClient) PutFailure(ctx context.Context, generation uint64, tableVersion, reason string) error {
	return c.put(ctx, &interlockv1.PutBundleRequest{
		Generation: generation, TableVersion: tableVersion,
		Result: &interlockv1.PutBundleRequest_Failure{Failure: wire.Reason(reason)},
	})
}

func (c *CoreClient) put(ctx context.Context, request *interlockv1.PutBundleRequest) error {
	response, err := c.tables.PutBundle(ctx, request)
	switch status.Code(err) {
	case codes.OK:
		if response.GetBaseUnknown() {
			return errBaseUnknown
		}
		return nil
	case codes.InvalidArgument, codes.ResourceExhausted:
		return fmt.Errorf("%w: %w", extension.ErrRejected, plain(err))
	default:
		return fmt.Errorf("handing the outcome to the core: %w", plain(err))
	}
}

// RenewIdentity implements extension.Core.
func (c *CoreClient) RenewIdentity(ctx context.Context, request []byte) ([]byte, error) {
	response, err := c.tables.RenewIdentity(ctx, &interlockv1.RenewIdentityRequest{CertificateRequest: request})
	if err != nil {
		return nil, fmt.Errorf("asking the core: %w", plain(err))
	}
	return response.GetCertificate(), nil
}

// plainError says what a gRPC error says, without gRPC's own words around it.
type plainError struct{ error }

func (e plainError) Error() string { return status.Convert(e.error).Message() }

func (e plainError) Unwrap() error { return e.error }

func plain(err error) error { return plainError{err} }
