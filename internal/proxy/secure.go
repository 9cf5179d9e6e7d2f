package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// serveTLS serves a connection by the name that its client asks for.
func (c *conn) serveTLS() {
	// A handshake takes a large stack, and the connection would keep that while
	// it is idle.
	begun := make(chan func())
	go func() {
		var serve func()
		defer func() { begun <- serve }()
		defer c.server.panics.contain(c.reset)
		serve = c.begin()
	}()
	if serve := <-begun; serve != nil {
		serve()
	}
}

// begin does what comes before the first request, and returns what serves the
// connection; nil: nothing does.
func (c *conn) begin() (serve func()) {
	limits := &c.server.options().Limits
	ctx, cancel := context.WithTimeout(context.Background(), limits.Header)
	defer cancel()
	name, said, err := greet(ctx, c.Conn)
	if err != nil {
		c.Close()
		return nil
	}
	c.name = http1.CanonicalHost(nil, []byte(name))
	s := c.server.table.Load().secure.find(c.name)
	again := &replayed{Conn: c.Conn, said: said, owner: c, over: make(chan struct{})}
	switch {
	case s != nil && s.through != nil:
		return func() { c.serveThrough(s, again) }
	case s == nil || s.policy == nil:
		refuse(ctx, again)
		return nil
	}
	secured := tls.Server(again, s.policy.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil
	}
	state := secured.ConnectionState()
	c.tlsVersion, c.cipher = state.Version, state.CipherSuite
	c.secure(secured)
	if state.NegotiatedProtocol == "h2" {
		c.overHTTP2.Store(true)
		return func() { c.server.http2.serve(secured) }
	}
	return c.serve
}

// serveThrough hands a connection on, or refuses it where nobody takes it.
func (c *conn) serveThrough(s *site, again *replayed) {
	if !c.handThrough(s, again.said) {
		ctx, cancel := context.WithTimeout(context.Background(), c.server.options().Limits.Header)
		defer cancel()
		refuse(ctx, again)
	}
}

// refuse ends a connection for a name that nobody here can prove. Without a
// certificate crypto/tls answers with the alert unrecognized_name: any that could
// be shown would be a wrong one.
func refuse(ctx context.Context, c *replayed) {
	_ = tls.Server(c, &tls.Config{}).HandshakeContext(ctx)
	_ = c.Close()
}

// secure goes on over TLS.
func (c *conn) secure(secured *tls.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Conn, c.proto, c.raw = secured, "https", nil
}

// errGreeted ends a handshake that was begun for its first message only.
var errGreeted = errors.New("the name is known")

// greet receives a client's first message, and returns the name that it asks
// for and all bytes that came. crypto/tls gives a connection's configuration by
// name too, but shares the keys of tickets among all that begin with the same
// one.
func greet(ctx context.Context, from net.Conn) (name string, said []byte, err error) {
	ear := &eavesdropper{Conn: from}
	err = tls.Server(ear, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name = hello.ServerName
		return nil, errGreeted
	}}).HandshakeContext(ctx)
	if errors.Is(err, errGreeted) {
		return name, ear.said.Bytes(), nil
	}
	return "", nil, err
}

// eavesdropper keeps what it receives, and says nothing.
type eavesdropper struct {
	net.Conn
	said bytes.Buffer
}

func (e *eavesdropper) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	e.said.Write(b[:n])
	return n, err
}

func (e *eavesdropper) Write(b []byte) (int, error) { return len(b), nil }

// replayed is a client's connection below TLS. It receives once more what was
// received already, and may send together what several streams say.
type replayed struct {
	net.Conn
	said  []byte
	owner *conn
	// out sends what is written; nil: the connection itself does.
	out *outflow
	// over is closed with the connection.
	over chan struct{}
	once sync.Once
}

// together has what is written at about the same time sent together.
func (r *replayed) together() {
	within := func() time.Duration { return r.owner.server.options().Limits.Send }
	r.out = newOutflow(r.Conn, r.owner.clock, r.owner.server.panics, within, r.end)
}

func (r *replayed) end() { r.once.Do(func() { close(r.over) }) }

// Close closes the connection, once all is sent.
func (r *replayed) Close() error {
	if r.out != nil {
		return r.out.Close()
	}
	r.end()
	return r.Conn.Close()
}

func (r *replayed) Write(b []byte) (int, error) {
	if r.out != nil {
		return r.out.Write(b)
	}
	return r.Conn.Write(b)
}

// SetWriteDeadline is net.Conn's. Who sends together has limits of his own.
func (r *replayed) SetWriteDeadline(t time.Time) error {
	if r.out != nil {
		return nil
	}
	return r.Conn.SetWriteDeadline(t)
}

// Read is net.Conn's. Over HTTP/2 it is net/http's goroutines that call it.
func (r *replayed) Read(b []byte) (n int, err error) {
	defer r.owner.server.panics.contain(func() { n, err = 0, errPanicked })
	if len(r.said) == 0 {
		return r.Conn.Read(b)
	}
	n = copy(b, r.said)
	if r.said = r.said[n:]; len(r.said) == 0 {
		r.said = nil
	}
	return n, nil
}

// CloseWrite says that nothing will be sent any more.
func (r *replayed) CloseWrite() error {
	half, ok := r.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// handThrough passes a TLS connection to an endpoint as it is, and reports
// whether there was one.
func (c *conn) handThrough(to *site, said []byte) bool {
	var nothing http1.Request
	var tried []*endpoint
	s := c.server
	for len(tried) < maxTries {
		e := to.through.pick(&nothing, c.address, s.options().AddressHash, tried, s.clock.about())
		if e == nil {
			break
		}
		up, err := s.dial(e, "")
		if err == nil {
			e.answered(up)
			if t := tallyOf(to.passed, e); t != nil {
				t.counts().passed.Add(1)
				defer func() { t.counts().bytes(c.got+int64(len(said)), c.put) }()
			}
			e.running.Add(1)
			defer e.running.Add(-1)
			c.pipeThrough(up, said)
			return true
		}
		if t := tallyOf(to.passed, e); s.note(e, err) && t != nil {
			t.counts().ejections.Add(1)
		}
		tried = append(tried, e)
	}
	return false
}

func (c *conn) pipeThrough(up *upstreamConn, said []byte) {
	defer c.Close()
	defer up.Close()
	c.asks.Store(up)
	defer c.asks.Store(nil)
	limits := &c.server.options().Limits
	quiet := max(limits.Websocket, limits.Answer)
	if up.write(said, limits.Answer) != nil {
		return
	}
	var heard atomic.Int64
	heard.Store(int64(c.server.clock.about()))
	there, back := takeLarge(), takeLarge()
	defer giveBack(there)
	defer giveBack(back)
	c.server.pipeBoth(&c.link, &up.link, there, back, &heard, quiet)
}
