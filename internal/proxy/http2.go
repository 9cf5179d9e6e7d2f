package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// http2 serves the connections whose clients speak HTTP/2. net/http does that;
// what it makes of each stream goes through the same exchange as a request over
// HTTP/1.1, so that all rules hold for both.
type http2 struct {
	server *http.Server
	// arrivals takes the connections to net/http, which wants a listener.
	arrivals arrivals
	// crew serves the streams.
	crew crew
}

// maxStreams is how many requests a client may have open on one connection.
const maxStreams = 250

func (h *http2) init(o Options) {
	h.arrivals = arrivals{conns: make(chan net.Conn), closed: make(chan struct{})}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	h.server = &http.Server{
		Handler: http.HandlerFunc(serveStream), Protocols: &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		IdleTimeout:       o.Limits.Idle,
		ReadHeaderTimeout: o.Limits.Header,
		MaxHeaderBytes:    http1.MaxHead,
		ConnContext:       withOwner,
	}
	if o.Logger != nil {
		h.server.ErrorLog = slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug)
	}
}

// run serves until shut. What it returns is that it was.
func (h *http2) run() { _ = h.server.Serve(&h.arrivals) }

// serve serves a connection until it is closed.
func (h *http2) serve(secured *tls.Conn) {
	below := secured.NetConn().(*replayed)
	below.together()
	select {
	case h.arrivals.conns <- secured:
	case <-h.arrivals.closed:
		secured.Close()
	}
	<-below.over
}

// shut lets streams finish, and then closes what is open.
func (h *http2) shut(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if h.server.Shutdown(ctx) != nil {
		_ = h.server.Close()
	}
	_ = h.arrivals.Close()
	h.crew.close()
}

// arrivals is a listener whose connections come from elsewhere.
type arrivals struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (a *arrivals) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

func (a *arrivals) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}

func (a *arrivals) Addr() net.Addr { return &net.TCPAddr{} }

type ownerKey struct{}

// withOwner lets streams know whose they are.
func withOwner(ctx context.Context, secured net.Conn) context.Context {
	return context.WithValue(ctx, ownerKey{}, secured.(*tls.Conn).NetConn().(*replayed).owner)
}

// serveStream has an exchange serve a stream.
func serveStream(w http.ResponseWriter, r *http.Request) {
	if !r.Context().Value(ownerKey{}).(*conn).serveStream(w, r) {
		panic(http.ErrAbortHandler) // the stream is reset
	}
}

// serveStream reports whether all of the answer was written.
func (c *conn) serveStream(w http.ResponseWriter, r *http.Request) (whole bool) {
	defer c.server.panics.contain(func() { whole = false })
	crew := &c.server.http2.crew
	h, sound := crew.take(), false
	if h == nil {
		return false // the server ends
	}
	defer func() { crew.put(h, sound) }()
	h.stream.begin(w, r, c)
	served := h.serve()
	whole = h.stream.finish() && served
	sound = served
	return whole
}
