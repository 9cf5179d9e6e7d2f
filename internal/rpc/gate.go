package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
)

const (
	handshakeLimit = 3 * time.Second
	acceptPause    = 100 * time.Millisecond // after an error that may pass
	protocolGRPC   = "h2"
	protocolHTTP   = "http/1.1"
)

// Connections that are open at a time on one port. Strangers can fill the first
// two only, and so crowd out nobody but one another.
const (
	maxPending  = 512 // that have not finished the TLS handshake
	maxHealth   = 32  // to /healthz
	maxAdmitted = 512 // of those who have shown a certificate
)

// gate stands in front of the servers of one port. It accepts connections, makes
// each prove who it is, and hands it to the server that is there for such a
// client. Whoever does not pass has spoken to nothing but crypto/tls.
type gate struct {
	listener net.Listener
	config   *tls.Config
	// route says who serves a connection that has passed; an error: nobody.
	route    func(tls.ConnectionState) (*queue, error)
	refusals *refusals
	pending  *crowd
	log      *slog.Logger
}

func newGate(l net.Listener, config *tls.Config, log *slog.Logger, route func(tls.ConnectionState) (*queue, error)) *gate {
	return &gate{listener: l, config: config, route: route, refusals: newRefusals(log), pending: newCrowd(maxPending), log: log}
}

// run returns when ctx has ended or the listener has failed for good, after
// every connection was handed on or closed. It closes the listener.
func (g *gate) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var handshakes sync.WaitGroup
	defer handshakes.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = g.listener.Close() })()
	defer g.listener.Close()
	for {
		conn, err := g.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting connections on %s: %w", g.listener.Addr(), err)
		case err != nil:
			// The process has run out of file descriptors, or the like.
			g.log.Warn("no connection accepted, trying again", "address", g.listener.Addr(), "error", err)
			pause(ctx, acceptPause)
		default:
			g.receive(ctx, conn, &handshakes)
		}
	}
}

// receive takes care of a connection without waiting for its other side.
func (g *gate) receive(ctx context.Context, conn net.Conn, handshakes *sync.WaitGroup) {
	guest := &guest{Conn: conn}
	g.pending.take(guest)
	handshakes.Go(func() {
		if err := g.admit(ctx, guest); err != nil {
			g.refuse(ctx, guest, err)
		}
	})
}

func (g *gate) refuse(ctx context.Context, conn *guest, reason error) {
	if conn.wasSentAway() {
		reason = errors.New("newer connections needed its place before it finished the TLS handshake")
	}
	_ = conn.Close()
	if ctx.Err() == nil {
		g.refusals.note(conn.RemoteAddr(), reason)
	}
}

// admit hands a connection on; it fails if nobody is there for it.
func (g *gate) admit(ctx context.Context, raw *guest) error {
	conn := tls.Server(raw, g.config)
	handshake, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	if err := conn.HandshakeContext(handshake); err != nil {
		if isHealthCheck(conn) {
			return raw.Close()
		}
		return explain(err)
	}
	queue, err := g.route(conn.ConnectionState())
	if err != nil {
		return err
	}
	queue.crowd.take(raw)
	return queue.put(conn)
}

// HealthName is the name of the server that a health check in the process's own
// container asks for. It has no identity, so its handshake fails, and it has
// learned by then that the process answers.
const HealthName = "healthcheck.interlock.invalid"

// isHealthCheck tells it from those whose refusal is worth a line in the log.
func isHealthCheck(conn *tls.Conn) bool {
	return conn.ConnectionState().ServerName == HealthName && hostOf(conn.RemoteAddr()).IsLoopback()
}

// explain says in words what went wrong in a handshake.
func explain(err error) error {
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &notTLS):
		return errors.New("it does not speak TLS")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it did not finish the TLS handshake within %s", handshakeLimit)
	case errors.Is(err, io.EOF):
		return errors.New("it hung up during the TLS handshake")
	default:
		return err
	}
}

// onlyGRPC routes everybody to one server, as long as they speak its protocol.
func onlyGRPC(q *queue) func(tls.ConnectionState) (*queue, error) {
	return func(state tls.ConnectionState) (*queue, error) {
		if state.NegotiatedProtocol != protocolGRPC {
			return nil, errors.New("it does not speak HTTP/2, which gRPC needs")
		}
		return q, nil
	}
}

// gRPCOrHealth routes those who speak HTTP/2 to the gRPC server, if they have
// shown who they are, and all others to the health server.
func gRPCOrHealth(grpc, health *queue) func(tls.ConnectionState) (*queue, error) {
	return func(state tls.ConnectionState) (*queue, error) {
		if state.NegotiatedProtocol != protocolGRPC {
			return health, nil
		}
		if _, err := pki.PeerName(state); err != nil {
			return nil, err
		}
		return grpc, nil
	}
}

func hostOf(address net.Addr) netip.Addr {
	parsed, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return netip.Addr{} // not TCP: all count as one host
	}
	return parsed.Addr().Unmap()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
