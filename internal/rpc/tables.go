package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// extensionStreams is how many calls an extension may make at a time. It follows
// the tables with one, and with the others hands back one outcome and renews its
// identity; each may bring a message of the greatest size.
const extensionStreams = 4

// Tables are the core's, as its extensions see them.
type Tables interface {
	// Publication is what a cluster's extension should render now, its table nil
	// as long as there is none, and a channel that is closed when it is out of date.
	Publication(cluster string) (render.Publication, <-chan struct{})
	// PutBundle takes what an extension rendered.
	PutBundle(cluster string, generation uint64, tableVersion string, r render.Result)
	// PutFailure takes an extension's word that it could not render a table.
	PutFailure(cluster string, generation uint64, tableVersion, reason string)
}

// TableServerOptions are the parts of a table server. All are required.
type TableServerOptions struct {
	Tables   Tables
	Identity *pki.Identity
	// Sign certifies an extension's new key. Request (PKCS #10) and certificate are DER.
	Sign   func(name pki.Name, request []byte) (certificate []byte, err error)
	Logger *slog.Logger
}

// TableServer is the core's port, for its extensions.
type TableServer struct{ options TableServerOptions }

// NewTableServer makes a server.
func NewTableServer(o TableServerOptions) *TableServer { return &TableServer{options: o} }

// Serve serves until ctx ends and then returns nil within 5 s. It closes the listener.
func (s *TableServer) Serve(ctx context.Context, listener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	config := s.options.Identity.ServerConfig(pki.RoleExtension)
	config.NextProtos = []string{protocolGRPC}
	queue := newQueue(listener.Addr(), maxAdmitted)
	server := newGRPCServer(pki.RoleExtension, extensionStreams)
	interlockv1.RegisterTableServiceServer(server, &tableService{TableServerOptions: s.options, ended: ctx.Done()})
	group.Go(func() error { return newGate(listener, config, s.options.Logger, onlyGRPC(queue)).run(ctx) })
	group.Go(func() error { return serveGRPC(ctx, server, queue) })
	return group.Wait()
}

type tableService struct {
	interlockv1.UnimplementedTableServiceServer
	TableServerOptions
	extensions extensions
	ended      <-chan struct{} // closed when the server is to stop
}

func (s *tableService) WatchTables(request *interlockv1.WatchTablesRequest, stream grpc.ServerStreamingServer[interlockv1.WatchTablesResponse]) error {
	name, err := caller(stream.Context())
	if err != nil {
		return err
	}
	defer s.extensions.enter(name.Cluster, callerAddress(stream.Context()))()
	log := s.Logger.With("extension", name)
	log.Info("extension connected")
	defer log.Info("extension disconnected")
	var sent render.Publication
	for {
		publication, outdated := s.Tables.Publication(name.Cluster)
		if publication.Table != nil && publication.Generation != sent.Generation {
			message, err := publicationMessage(publication)
			if err != nil {
				return err
			}
			if err := stream.Send(sinceLast(message, request, sent, publication.Table)); err != nil {
				return err
			}
			sent = publication
		}
		select {
		case <-outdated:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-s.ended:
			return stopping()
		}
	}
}

func publicationMessage(p render.Publication) (*interlockv1.WatchTablesResponse, error) {
	parameters, err := wire.ParametersMessage(p.Parameters)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "the parameters cannot be sent: %v", err)
	}
	return &interlockv1.WatchTablesResponse{Generation: p.Generation, Version: p.Version, Parameters: parameters, Changes: true}, nil
}

// sinceLast puts a table into a message: as what it changes of the last one on
// the stream, where the other side understands that and it is worth while.
func sinceLast(
	message *interlockv1.WatchTablesResponse, request *interlockv1.WatchTablesRequest, last render.Publication, table *route.Table,
) *interlockv1.WatchTablesResponse {
	if request.GetChanges() && last.Table != nil {
		message.Change = wire.ChangeMessage(last.Table, last.Version, table)
	}
	if message.GetChange() == nil {
		message.Table = wire.TableMessage(table)
	}
	return message
}

func (s *tableService) PutBundle(ctx context.Context, request *interlockv1.PutBundleRequest) (*interlockv1.PutBundleResponse, error) {
	name, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if request.GetTableVersion() == "" {
		return nil, invalid(errors.New("the request does not say which table was rendered"))
	}
	if !s.extensions.heed(name.Cluster, callerAddress(ctx)) {
		s.Logger.Debug("what an extension task hands back is not taken: the one that follows it is at work", "extension", name)
		return &interlockv1.PutBundleResponse{}, nil
	}
	switch result := request.GetResult().(type) {
	case *interlockv1.PutBundleRequest_Bundle, *interlockv1.PutBundleRequest_Change:
		return s.putResult(ctx, name.Cluster, request)
	case *interlockv1.PutBundleRequest_Failure:
		s.Tables.PutFailure(name.Cluster, request.GetGeneration(), request.GetTableVersion(), wire.Reason(result.Failure))
	default:
		return nil, invalid(errors.New("the request has neither a bundle nor a failure"))
	}
	return &interlockv1.PutBundleResponse{}, nil
}

// putResult takes a bundle, or what one changes of the one before on the same
// connection.
func (s *tableService) putResult(ctx context.Context, cluster string, request *interlockv1.PutBundleRequest) (*interlockv1.PutBundleResponse, error) {
	var before *render.Bundle
	if change := request.GetChange(); change != nil {
		if before = s.extensions.base(cluster, callerAddress(ctx), change.GetBase()); before == nil {
			return &interlockv1.PutBundleResponse{BaseUnknown: true}, nil
		}
	}
	rendered, err := wire.Result(request, before)
	if err != nil {
		return nil, invalid(err)
	}
	s.extensions.handedBack(cluster, callerAddress(ctx), rendered.Bundle)
	s.Tables.PutBundle(cluster, request.GetGeneration(), request.GetTableVersion(), rendered)
	return &interlockv1.PutBundleResponse{}, nil
}

func (s *tableService) RenewIdentity(ctx context.Context, request *interlockv1.RenewIdentityRequest) (*interlockv1.RenewIdentityResponse, error) {
	name, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	certificate, err := s.Sign(name, request.GetCertificateRequest())
	if err != nil {
		return nil, status.Error(codes.FailedPrecondition, wire.Reason(err.Error()))
	}
	s.Logger.Info("identity renewed", "name", name)
	return &interlockv1.RenewIdentityResponse{Certificate: certificate}, nil
}
