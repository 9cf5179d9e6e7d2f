package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/probe"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/wire"
)

// Limits of the health server, whose clients need not say who they are.
const (
	healthRequestLimit = 5 * time.Second  // until the request is read
	healthAnswerLimit  = 10 * time.Second // until the answer is written
	healthIdleLimit    = 30 * time.Second
	healthMaxHeaders   = 8 << 10
)

// coreStreams is how many calls a core may make at a time. It follows the status
// with one, probes with one, and with the others delivers one bundle and renews
// the identity.
const coreStreams = 4

// Agent stands beside a proxy.
type Agent interface {
	// Apply returns nil once the proxy serves the bundle, and an *agent.Refused if
	// it does not and goes on serving the one before.
	Apply(ctx context.Context, bundle render.Bundle, tableVersion string) error
	// Check returns nil if the proxy would serve the bundle, and an *agent.Refused
	// if it would not; it changes nothing.
	Check(ctx context.Context, bundle render.Bundle) error
	// Status is what the proxy serves, and a channel that is closed when that is
	// out of date.
	Status() (agent.Status, <-chan struct{})
	// Served is the bundle of that version, if the proxy serves it.
	Served(version string) (bundle render.Bundle, ok bool)
}

// AgentServerOptions are the parts of an agent server. All are required but Knock.
type AgentServerOptions struct {
	Agent    Agent
	Identity *pki.Identity
	Health   http.Handler // answers GET /healthz
	// Knock reports whether an address accepts a connection; nil: [probe.Knock].
	Knock  func(context.Context, netip.AddrPort) bool
	Logger *slog.Logger
}

// AgentServer is the agent's port. It serves gRPC to the core and GET /healthz
// to anybody, both behind TLS.
//
// A client says by ALPN what it speaks. HTTP/2 is for gRPC, and only who has
// shown the core's certificate in the handshake gets to it; HTTP/1.1 is for the
// rest. So the two need no common server: gRPC has its own transport, with its
// keepalive, and what anybody may reach is a small HTTP/1.1 server.
type AgentServer struct{ options AgentServerOptions }

// NewAgentServer makes a server.
func NewAgentServer(o AgentServerOptions) *AgentServer {
	if o.Knock == nil {
		o.Knock = probe.Knock
	}
	return &AgentServer{options: o}
}

// Serve serves until ctx ends and then returns nil within 5 s. It closes the listener.
func (s *AgentServer) Serve(ctx context.Context, listener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	config := s.options.Identity.ServerConfigOptionalClient(pki.RoleCore)
	// The first one that the client speaks too is taken: a browser or curl, which
	// speak both, get HTTP/1.1.
	config.NextProtos = []string{protocolHTTP, protocolGRPC}
	forGRPC, forHealth := newQueue(listener.Addr(), maxAdmitted), newQueue(listener.Addr(), maxHealth)
	server := newGRPCServer(pki.RoleCore, coreStreams)
	interlockv1.RegisterAgentServiceServer(server, &agentService{AgentServerOptions: s.options, ended: ctx.Done()})
	group.Go(func() error {
		return newGate(listener, config, s.options.Logger, gRPCOrHealth(forGRPC, forHealth)).run(ctx)
	})
	group.Go(func() error { return serveGRPC(ctx, server, forGRPC) })
	group.Go(func() error { return s.serveHealth(ctx, forHealth) })
	return group.Wait()
}

func (s *AgentServer) serveHealth(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", s.options.Health)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler: mux, Protocols: protocols, ErrorLog: slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
		ReadTimeout: healthRequestLimit, WriteTimeout: healthAnswerLimit, IdleTimeout: healthIdleLimit, MaxHeaderBytes: healthMaxHeaders,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving /healthz on %s: %w", listener.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close() // a health check that is cut off is made again
	})
	return group.Wait()
}

type agentService struct {
	interlockv1.UnimplementedAgentServiceServer
	AgentServerOptions
	cores cores
	names names
	ended <-chan struct{} // closed when the server is to stop
}

func (s *agentService) ApplyBundle(ctx context.Context, request *interlockv1.ApplyBundleRequest) (*interlockv1.ApplyBundleResponse, error) {
	bundle, err := s.admit(request)
	switch {
	case errors.Is(err, errBaseUnknown):
		return &interlockv1.ApplyBundleResponse{BaseUnknown: true}, nil
	case err != nil:
		return nil, err
	}
	s.names.hear(bundle.Version(), request.GetBundle().GetVersion())
	refusal, err := judgement(s.Agent.Apply(ctx, bundle, request.GetTableVersion()))
	if err != nil {
		return nil, err
	}
	return &interlockv1.ApplyBundleResponse{Refusal: refusal}, nil
}

func (s *agentService) CheckBundle(ctx context.Context, request *interlockv1.CheckBundleRequest) (*interlockv1.CheckBundleResponse, error) {
	bundle, err := s.admit(request)
	switch {
	case errors.Is(err, errBaseUnknown):
		return &interlockv1.CheckBundleResponse{BaseUnknown: true}, nil
	case err != nil:
		return nil, err
	}
	refusal, err := judgement(s.Agent.Check(ctx, bundle))
	if err != nil {
		return nil, err
	}
	return &interlockv1.CheckBundleResponse{Refusal: refusal}, nil
}

// delivered is a request with a bundle, or with what one changes of another.
type delivered interface {
	GetBundle() *interlockv1.Bundle
	GetChange() *interlockv1.BundleChange
	GetEpoch() uint64
}

// admit reads the bundle that a core brings, if the core is the one in charge. It
// fails with errBaseUnknown where a change is of another bundle than is served.
func (s *agentService) admit(request delivered) (render.Bundle, error) {
	bundle, err := s.bundle(request)
	if errors.Is(err, errBaseUnknown) {
		return render.Bundle{}, err
	}
	if err != nil {
		return render.Bundle{}, invalid(fmt.Errorf("the bundle: %w", err))
	}
	if newer, admitted := s.cores.deliver(request.GetEpoch()); !admitted {
		return render.Bundle{}, status.Error(codes.FailedPrecondition, outranked(newer))
	}
	return bundle, nil
}

func (s *agentService) bundle(request delivered) (render.Bundle, error) {
	change := request.GetChange()
	if change == nil {
		return wire.Bundle(request.GetBundle())
	}
	base, served := s.Agent.Served(change.GetBase())
	if !served {
		return render.Bundle{}, errBaseUnknown
	}
	return wire.ChangedBundle(&base, change)
}

// judgement is what the agent's answer is on the wire.
func judgement(err error) (string, error) {
	var refused *agent.Refused
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &refused):
		return refusal(refused.Reason), nil
	case errors.Is(err, agent.ErrEnded):
		return "", stopping()
	default:
		return "", status.Error(codes.Internal, wire.Reason(err.Error()))
	}
}

// refusal is never empty: on the wire an empty one means that there is none.
func refusal(reason string) string {
	if reason == "" {
		return "the proxy gave no reason"
	}
	return wire.Reason(reason)
}

func (s *agentService) WatchStatus(request *interlockv1.WatchStatusRequest, stream grpc.ServerStreamingServer[interlockv1.WatchStatusResponse]) error {
	defer s.cores.enter(request.GetEpoch())()
	for {
		current, outdated := s.Agent.Status()
		err := stream.Send(&interlockv1.WatchStatusResponse{
			BundleVersion: s.names.of(current.BundleVersion), TableVersion: current.TableVersion,
			RefusedVersion: s.names.of(current.RefusedVersion), Refusal: wire.Reason(current.Refusal),
			Changes: true,
		})
		if err != nil {
			return err
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

func (s *agentService) RequestRenewal(context.Context, *interlockv1.RequestRenewalRequest) (*interlockv1.RequestRenewalResponse, error) {
	request, err := s.Identity.RequestRenewal()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &interlockv1.RequestRenewalResponse{CertificateRequest: request}, nil
}

func (s *agentService) CompleteRenewal(_ context.Context, request *interlockv1.CompleteRenewalRequest) (*interlockv1.CompleteRenewalResponse, error) {
	if err := s.Identity.CompleteRenewal(request.GetCertificate()); err != nil {
		return nil, invalid(err)
	}
	s.Logger.Info("identity renewed", "expires", s.Identity.Expires())
	return &interlockv1.CompleteRenewalResponse{}, nil
}
