package delivery

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/wire"
)

const (
	firstDelay   = 50 * time.Millisecond // before a proxy is dialled again
	maxDelay     = 2 * time.Second       // between two attempts to dial it
	connectLimit = 5 * time.Second       // for one attempt, the TLS handshake included
	// steady is how long a connection must have lasted for the next attempt to
	// come without delay: a proxy that hangs up at once is not dialled in a frenzy.
	steady     = 10 * time.Second
	remindEach = time.Minute // how often a lasting failure is logged
	// maxAnswer bounds what an agent may answer in bytes: a status, a refusal, a
	// certificate request. Its headers have the same bound.
	maxAnswer = 64 << 10
)

// courier serves one proxy for as long as it is listed: one connection after
// another, one at a time.
type courier struct {
	deliverer *Deliverer
	target    target
	log       *slog.Logger
	ctx       context.Context // ends when the proxy is no longer listed
	hangUp    context.CancelFunc
	news      chan struct{} // holds a token when there may be something to send
	questions chan struct{} // likewise, to ask
}

func newCourier(ctx context.Context, d *Deliverer, t target) *courier {
	ctx, hangUp := context.WithCancel(ctx)
	return &courier{
		deliverer: d, target: t, ctx: ctx, hangUp: hangUp, news: make(chan struct{}, 1), questions: make(chan struct{}, 1),
		log: d.options.Logger.With("cluster", t.cluster, "node", t.Node, "task", t.Task, "address", t.Addr),
	}
}

// run returns once hangUp was called.
func (c *courier) run() {
	defer c.hangUp()
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = firstDelay, maxDelay
	var logged time.Time
	for {
		connected, err := c.connection()
		if c.ctx.Err() != nil {
			return
		}
		c.note(func(s *Status) { s.Connected, s.LastError = false, words(err) })
		signal(c.deliverer.changed) // another proxy may have to be asked in its place
		if connected > 0 || time.Since(logged) >= remindEach {
			c.log.Warn("no connection to the proxy, trying again", "error", words(err))
			logged = time.Now()
		}
		if connected >= steady {
			delays.Reset()
		}
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(min(delays.NextBackOff(), maxDelay)): // which is randomised past MaxInterval
		}
	}
}

// connection dials the proxy and serves it until the connection fails; it says
// how long it stood. Each attempt has a connection of its own, so that the delay
// between attempts is ours alone and every failure is seen.
func (c *courier) connection() (connected time.Duration, err error) {
	tls := c.deliverer.options.TLS(c.target.cluster)
	conn, err := grpc.NewClient("passthrough:///"+c.target.Addr.String(),
		grpc.WithTransportCredentials(credentials.NewTLS(tls)),
		// A dialler of our own also keeps gRPC from asking the environment for an
		// HTTP proxy.
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectLimit}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: wire.KeepaliveInterval, Timeout: wire.KeepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(wire.MaxMessage), grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithMaxHeaderListSize(maxAnswer),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	s := session{courier: c, client: interlockv1.NewAgentServiceClient(conn)}
	err = s.run(c.ctx)
	if !s.since.IsZero() {
		connected = time.Since(s.since)
	}
	return connected, err
}

func (c *courier) note(change func(*Status)) { c.deliverer.note(c.target, change) }

// words is what an error says, without gRPC's own words around it. Some of it may
// be the agent's, so it is made fit to be kept.
func words(err error) string { return wire.Reason(status.Convert(err).Message()) }
