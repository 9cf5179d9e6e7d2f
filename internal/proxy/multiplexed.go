package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	h2 "golang.org/x/net/http2"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

const (
	// maxShared is how many requests share a connection to an endpoint.
	maxShared = 100
	// streamWindow is how many bytes of an answer an endpoint may send ahead of
	// its client, who may be slow. A connection's window has room for those of
	// all its streams, so that no slow client holds up another.
	streamWindow = 256 << 10
)

// multiplexed is a connection to an endpoint that speaks HTTP/2. Requests share
// it; x/net/http2 speaks it.
type multiplexed struct {
	*h2.ClientConn
	host string // as upstreamConn's

	// The rest is guarded by the endpoint's lock.
	streams   int
	used      bool
	idleSince time.Duration
	// retired says that one of its requests has panicked: no more are asked over it.
	retired bool
}

// newTransport returns what speaks HTTP/2 over connections that are made already.
func newTransport() *h2.Transport {
	transport, err := h2.ConfigureTransports(&http.Transport{
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: maxShared * streamWindow},
	})
	if err != nil {
		panic(err) // a transport of our own has no other HTTP/2
	}
	transport.DisableCompression = true // what is compressed is the client's affair
	transport.MaxHeaderListSize = http1.MaxHead
	return transport
}

// stream returns a connection for one request, over one that requests share; fresh
// asks for a new one of those.
func (s *Server) stream(e *endpoint, host string, fresh bool) (*upstreamConn, error) {
	m, reused, open := e.share(host, fresh)
	if !open {
		return nil, errDrained
	}
	if m == nil {
		var err error
		if m, err = s.multiplex(e, host); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	near, far := net.Pipe()
	q := &question{Conn: near, cancel: cancel, clock: s.clock, panics: s.panics, scheme: "http", err: errPanicked}
	if e.tls != nil {
		q.scheme = "https"
	}
	go q.run(ctx, far, e, m)
	return &upstreamConn{
		endpoint: e, host: host, reused: reused, stream: true,
		link: link{Conn: q, socket: q, clock: s.clock},
	}, nil
}

// multiplex makes a connection that requests may share.
func (s *Server) multiplex(e *endpoint, host string) (*multiplexed, error) {
	c, err := s.dial(e, host)
	if err != nil {
		return nil, err
	}
	joined := false
	defer func() {
		if !joined {
			c.Close()
		}
	}()
	if secured, is := c.Conn.(*tls.Conn); is && secured.ConnectionState().NegotiatedProtocol != h2.NextProtoTLS {
		return nil, errNoHTTP2
	}
	client, err := s.transport.NewClientConn(c)
	if err != nil {
		return nil, fmt.Errorf("speaking HTTP/2 to an endpoint: %w", err)
	}
	m := &multiplexed{ClientConn: client, host: host, streams: 1, used: true}
	if !client.ReserveNewRequest() || !e.join(m) {
		_ = client.Close()
		return nil, errDrained
	}
	joined = true
	return m, nil
}

var errNoHTTP2 = errors.New("speaking HTTP/2 to an endpoint: it takes none over TLS")

// share returns a connection with room for one more request, or nil; whether
// requests have used it before; and whether the endpoint takes any at all. Who
// gets a connection has to leave it.
func (e *endpoint) share(host string, fresh bool) (m *multiplexed, reused, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drained {
		return nil, false, false
	}
	if fresh {
		return nil, false, true
	}
	for _, m = range e.shared {
		if m.host == host && m.streams < maxShared && !m.retired && m.ReserveNewRequest() {
			reused, m.used = m.used, true
			m.streams++
			return m, reused, true
		}
	}
	return nil, false, true
}

// unprocessed reports whether an endpoint has said that it did nothing of a request,
// so that any may be sent again (RFC 9113, section 8.7).
func unprocessed(err error) bool {
	if refused, is := errors.AsType[h2.StreamError](err); is {
		return refused.Code == h2.ErrCodeRefusedStream
	}
	// x/net/http2 tells these by their text alone. Of a connection that is being
	// closed they are the requests behind the last one that GOAWAY names, and those
	// that were never sent.
	switch fmt.Sprint(err) {
	case "http2: Transport received Server's graceful shutdown GOAWAY", "http2: client conn not usable":
		return true
	}
	return false
}

// join lets others share a connection; false: the endpoint takes no requests.
func (e *endpoint) join(m *multiplexed) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drained {
		return false
	}
	e.shared = append(e.shared, m)
	return true
}

// leave ends a request's share of a connection, which is closed when nobody may
// ask for another.
func (e *endpoint) leave(m *multiplexed, now time.Duration) {
	if e.isLast(m, now) {
		_ = m.Close()
	}
}

// isLast ends a request's share of a connection, and reports whether that is to be
// closed.
func (e *endpoint) isLast(m *multiplexed, now time.Duration) (last bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m.streams--
	m.idleSince = now
	if last = m.streams == 0 && (e.drained || m.retired || !m.CanTakeNewRequest()); last {
		e.shared = slices.DeleteFunc(e.shared, func(s *multiplexed) bool { return s == m })
	}
	return last
}

// retire keeps new requests from a connection. Those that are asked over it finish.
func (e *endpoint) retire(m *multiplexed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m.retired = true
}

// takeQuiet takes out the connections that nobody uses and that a condition holds
// for; they are to be closed. The lock is held.
func (e *endpoint) takeQuiet(condition func(*multiplexed) bool) (quiet []*multiplexed) {
	e.shared = slices.DeleteFunc(e.shared, func(m *multiplexed) bool {
		if m.streams > 0 || !condition(m) {
			return false
		}
		quiet = append(quiet, m)
		return true
	})
	return quiet
}
