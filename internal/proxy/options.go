package proxy

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/interlock-lb/interlock/internal/logformat"
)

// Options is how a server behaves, whatever its table says.
type Options struct {
	Logger *slog.Logger
	// AccessLog takes a line for each request, in batches; nil: nobody does.
	AccessLog io.Writer
	// LogFormat is what such a line says; nil: [logformat.TraceBody]. Without
	// pieces nothing is logged.
	LogFormat *logformat.Format
	// ProxyID and ServerInfo are what clients are told in x-proxy-id and
	// x-server-info. The first is also the name of the host in access logs.
	ProxyID, ServerInfo string
	// HideInfoHeaders tells clients nothing about the proxy and the upstream.
	HideInfoHeaders bool
	// UnderscoresInHeaders forwards fields with "_" in their names. Many apps
	// take them for the field with "-", which may be one that the proxy sets.
	UnderscoresInHeaders bool
	// AddressHash keeps the requests of a client's address together wherever
	// nothing else is said.
	AddressHash bool
	// Trusted are the networks of other proxies: what they say of the client in
	// X-Forwarded-For and the like is passed on, of others it is replaced.
	Trusted []netip.Prefix
	// Authorities are who may issue certificates of endpoints; nil: nobody, so
	// that upstreams whose certificates must be verified answer 502.
	Authorities *x509.CertPool
	// SkipVerify is for upstreams that leave it to the operator.
	SkipVerify bool
	// Accepts reports whether an endpoint takes connections, for probes; nil: one
	// that can be made is enough. Its context bounds it.
	Accepts func(context.Context, netip.AddrPort) bool
	// Accepted reports whether an address took a connection from here a moment ago,
	// so that an endpoint there need not be probed when it joins others; nil: that
	// is known of none.
	Accepted func(netip.AddrPort) bool
	// MinTLS and MaxTLS are the versions of TLS for clients, as crypto/tls
	// numbers them; 0: crypto/tls's own bounds.
	MinTLS, MaxTLS uint16
	// SecurePort is where clients are redirected to who must speak TLS; 0: 443.
	SecurePort uint16

	Limits Limits
}

// Limits bound what clients and endpoints can take from the server. Times are
// kept to a second, or to an eighth where that is shorter.
type Limits struct {
	// Header is how long a request's head may take from its first byte on;
	// Body how long a client may make no progress with its content. Then 408.
	Header, Body time.Duration
	// Idle is how long a client's connection waits for its next request.
	Idle time.Duration
	// Send is how long a client may take nothing of what it is sent.
	Send time.Duration
	// MaxBody is the most content that a request may have, in bytes, else 413;
	// 0: no limit.
	MaxBody int64
	// Connections and ConnectionsPerAddress are how many clients may have at
	// once; others get 503.
	Connections, ConnectionsPerAddress int
	// Requests is how many one connection serves.
	Requests int
	// Connect is how long connecting to an endpoint may take, Answer how long
	// it may make no progress with an answer.
	Connect, Answer time.Duration
	// Websocket is how long an upgraded connection may be silent.
	Websocket time.Duration
	// Shutdown is how long requests may take to finish when the server ends.
	Shutdown time.Duration
}

// DefaultLimits are those of an operator who configured nothing.
func DefaultLimits() Limits {
	return Limits{
		Header: 10 * time.Second, Body: 10 * time.Second, Idle: 75 * time.Second, Send: 60 * time.Second,
		MaxBody: 1 << 20, Connections: 65536, ConnectionsPerAddress: 16384, Requests: 1 << 20,
		Connect: time.Second, Answer: 600 * time.Second, Websocket: time.Hour, Shutdown: 10 * time.Second,
	}
}
