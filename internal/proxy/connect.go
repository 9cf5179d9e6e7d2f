package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	h2 "golang.org/x/net/http2"

	"github.com/interlock-lb/interlock/internal/route"
)

var errDrained = errors.New("the endpoint takes no more requests")

// connect returns a connection to an endpoint; fresh asks for a new one. One that
// was used before may have been closed by the endpoint since.
func (s *Server) connect(e *endpoint, host string, fresh bool) (*upstreamConn, error) {
	if e.http2 {
		return s.stream(e, host, fresh)
	}
	for {
		c, open := e.takeIdle(host)
		switch {
		case !open:
			return nil, errDrained
		case c == nil:
			return s.dialUnlessFree(e, host, fresh)
		case !fresh:
			return c, nil
		}
		c.Close()
	}
}

// dialUnlessFree makes a connection, or takes one that became free while none could be
// made: that it has just served a request says more of the endpoint than that it
// accepts no more in time, as one that is busy may.
func (s *Server) dialUnlessFree(e *endpoint, host string, fresh bool) (*upstreamConn, error) {
	c, err := s.dial(e, host)
	if err == nil || fresh {
		return c, err
	}
	free, open := e.takeIdle(host)
	switch {
	case !open:
		return nil, errDrained
	case free != nil:
		return free, nil
	}
	return nil, err
}

func (s *Server) dial(e *endpoint, host string) (*upstreamConn, error) {
	if e.tls != nil && s.verifies(e.tls) && s.options().Authorities == nil {
		return nil, errNoTrust
	}
	within := s.options().Limits.Connect
	dialled, err := s.dialer().DialContext(context.Background(), "tcp", e.text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoConnection, err)
	}
	c := &upstreamConn{endpoint: e, host: host, link: link{Conn: dialled, socket: dialled, clock: s.clock}}
	s.stats.dialled.Add(1)
	s.stats.upstream.Add(1)
	c.open.Store(&s.stats.upstream)
	if with, ok := dialled.(syscall.Conn); ok {
		c.raw, _ = with.SyscallConn()
	}
	c.peek, c.proceed = c.tryReceive, c.tryInquiry
	c.silenceExpected = true // by the kernel, of every new connection
	if e.tls == nil {
		return c, nil
	}
	secured := tls.Client(dialled, s.tlsConfig(e, host))
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	shaken := false
	defer func() {
		if !shaken {
			c.Close()
		}
	}()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("speaking TLS to an endpoint: %w", err)
	}
	c.Conn, shaken = secured, true
	return c, nil
}

// dialer makes connections that notice when an endpoint's machine is gone while its
// answer is waited for: the kernel asks one that is silent every second. An app that
// takes its time does not mind, its machine answers for it.
func (s *Server) dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: s.options().Limits.Connect,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: time.Second, Interval: time.Second, Count: int(silenceLimit / time.Second),
		},
	}
}

func (s *Server) tlsConfig(e *endpoint, host string) *tls.Config {
	protocol := "http/1.1"
	if e.http2 {
		protocol = h2.NextProtoTLS
	}
	return &tls.Config{ServerName: host, RootCAs: s.options().Authorities, InsecureSkipVerify: !s.verifies(e.tls), NextProtos: []string{protocol}}
}

func (s *Server) verifies(t *route.TLS) bool {
	if t.Verify == route.VerifyDefault {
		return !s.options().SkipVerify
	}
	return t.Verify != route.VerifyNone
}
