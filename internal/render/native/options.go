package native

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"github.com/interlock-lb/interlock/internal/logformat"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
)

// Options are what the operator configured for a native proxy. Zero stands for
// what the proxy does by itself where that is said.
type Options struct {
	Port, SSLPort uint16 // inside the proxy's container; 0: not served
	// RedirectPort is where clients are redirected to who must speak TLS; 0: 443.
	RedirectPort uint16

	MaxConnections int           // of clients; 0: by itself
	ConnectTimeout time.Duration // 0: by itself
	ReadTimeout    time.Duration
	BodyTimeout    time.Duration // 0: by itself
	Idle           time.Duration // of clients; 0: one request a connection
	// The next are 0 for what the proxy does by itself.
	HeaderTimeout, SendTimeout time.Duration // of clients
	WebsocketTimeout, Shutdown time.Duration
	Requests, ConnectionsEach  int // of a connection, and of an address
	// Trusted are the networks of other proxies, whose word of the client counts.
	Trusted []netip.Prefix
	// Authorities may issue the certificates of tasks; nil: nobody may.
	Authorities     *x509.CertPool
	MaxBody         int64 // bytes; 0: no limit
	Underscores     bool  // in the names of header fields
	IPHash          bool
	HideInfoHeaders bool
	SkipVerify      bool // of tasks that do not say
	// Log is what is logged of a request; without pieces nothing is.
	Log            *logformat.Format
	MinTLS, MaxTLS uint16 // as crypto/tls numbers them
}

// ParseOptions reads the keys that the native proxy has in common with nginx,
// which gives them their grammar and defaults. The error lists every key that is
// not valid.
func ParseOptions(p render.Parameters) (Options, error) {
	own, others := split(p.Config)
	shared, err := nginx.ParseOptions(others)
	if err != nil {
		return Options{}, err
	}
	o := Options{
		Port: p.Port, SSLPort: p.SSLPort, RedirectPort: p.PublishedSSLPort,
		ReadTimeout: shared.ReadTimeout, Idle: shared.KeepaliveTimeout,
		MaxBody: shared.ClientMaxBodySize, Underscores: shared.UnderscoresInHeaders, IPHash: shared.IPHash,
		HideInfoHeaders: shared.HideInfoHeaders, SkipVerify: shared.SSLVerify == "none",
	}
	o.HeaderTimeout, o.SendTimeout, o.Requests = shared.ClientHeaderTimeout, shared.ClientSendTimeout, shared.KeepaliveRequests
	if shared.SSLBackendAuthorities != "" {
		o.Authorities = x509.NewCertPool()
		o.Authorities.AppendCertsFromPEM([]byte(shared.SSLBackendAuthorities))
	}
	if err := o.readOwn(own); err != nil {
		return Options{}, err
	}
	if o.Log, err = logFormat(&shared); err != nil {
		return Options{}, err
	}
	// nginx's defaults for these are tighter or laxer than is good here.
	if _, given := p.Config["ConnectTimeout"]; given {
		o.ConnectTimeout = shared.ConnectTimeout
	}
	if _, given := p.Config["MaxConnections"]; given {
		o.MaxConnections = shared.MaxConnections
	}
	if _, given := p.Config["ClientBodyTimeout"]; given {
		o.BodyTimeout = shared.ClientBodyTimeout
	}
	o.MinTLS, o.MaxTLS = bounds(shared.SSLProtocols)
	return o, nil
}

// logFormat reads the format that is in use only: others may be for nginx.
func logFormat(shared *nginx.Options) (*logformat.Format, error) {
	body := shared.LogFormat()
	if body == "" {
		return &logformat.Format{}, nil
	}
	f, err := logformat.Parse(nginx.LogFormatWords(body))
	if err != nil {
		key := map[string]string{"main": "MainLogFormat", "trace": "TraceLogFormat"}[shared.AccessLogFormat]
		return nil, fmt.Errorf("options for the native proxy: %s: %w", key, err)
	}
	return f, nil
}

// bounds are the oldest and the newest of some versions. crypto/tls takes all
// between.
func bounds(protocols []string) (least, greatest uint16) {
	numbers := map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	for _, name := range protocols {
		n := numbers[name]
		if n == 0 {
			continue // SSLv3 and older are spoken by nobody
		}
		if least == 0 || n < least {
			least = n
		}
		greatest = max(greatest, n)
	}
	return least, greatest
}
