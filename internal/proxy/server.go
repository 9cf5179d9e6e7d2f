// Package proxy is the native data plane: it serves HTTP by a routing table,
// without any other program. Tables are swapped while it serves; nothing is
// reloaded and no request is lost to it.
//
// It reads no Docker, no settings and no files, and it decides nothing that the
// table could. The syntax of HTTP/1.1 is http1's.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/route"
)

// Server serves the clients of its listeners by the table that it was given
// last. Before the first it answers 503.
type Server struct {
	options Options
	clock   *clock
	info    []byte // fields that are the same in all answers
	log     *accessLog
	table   atomic.Pointer[table]

	mu       sync.Mutex // of the tables that are being made
	compiler compiler

	clients clients
	dialer  net.Dialer
	stopped atomic.Bool
	stats   counters
}

// New returns a server that has no table yet. Its listeners are served by Run.
func New(o Options) *Server {
	s := &Server{options: o, clock: newClock(), dialer: net.Dialer{Timeout: o.Limits.Connect}}
	s.table.Store(&table{})
	s.clients.init(o.Limits)
	if !o.HideInfoHeaders {
		s.info = fmt.Appendf(nil, "x-proxy-id: %s\r\nx-server-info: %s\r\n", o.ProxyID, o.ServerInfo)
	}
	if o.AccessLog != nil {
		s.log = newAccessLog(o.AccessLog)
	}
	return s
}

// Swap serves another table from now on. Requests that are being served finish
// where they are; endpoints that the new table has not get no more, and their
// idle connections are closed. On an error the old table stands. The table must
// not be changed afterwards: the next one is compared with it.
func (s *Server) Swap(t *route.Table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, gone, err := s.compiler.compile(t)
	if err != nil {
		return fmt.Errorf("making a table ready to serve: %w", err)
	}
	s.table.Store(made)
	for _, e := range gone {
		e.drain()
	}
	return nil
}

// Run serves plain HTTP on the listeners, which it closes, until the context
// ends. Then it lets requests finish, within limits, and closes what is open.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var kept sync.WaitGroup
	kept.Go(func() { s.clock.run(background) })
	kept.Go(func() { s.sweep(background) })
	if s.log != nil {
		kept.Go(func() { s.log.run(background) })
	}
	for _, l := range listeners {
		group.Go(func() error { return s.accept(ctx, l) })
	}
	err := group.Wait()
	s.stopped.Store(true)
	s.clients.shut(s.options.Limits.Shutdown)
	s.closeUpstreams()
	stop()
	kept.Wait()
	return err
}

// accept takes connections until the context ends.
func (s *Server) accept(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for pause := time.Duration(0); ; {
		accepted, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.welcome(accepted)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("taking connections on %s: %w", l.Addr(), err)
		default:
			// Too many open files, for one, pass when connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.options.Logger.Warn("A connection could not be taken", "listener", l.Addr().String(), "error", err)
			sleep(ctx, pause)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// welcome serves a connection, or turns it away when there are too many.
func (s *Server) welcome(accepted net.Conn) {
	c := newConn(s, accepted)
	serve := c.serve
	if !s.clients.enter(c) {
		s.stats.refused.Add(1)
		if serve = c.turnAway; !s.clients.enterAnyway(c) {
			c.Close()
			return
		}
	}
	go func() {
		defer s.clients.leave(c)
		serve()
	}()
}

// sweep closes the connections to endpoints that have been idle for too long.
func (s *Server) sweep(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now := s.clock.about()
			s.endpoints(func(e *endpoint) { e.expire(now) })
		}
	}
}

func (s *Server) closeUpstreams() { s.endpoints((*endpoint).drain) }

func (s *Server) endpoints(do func(*endpoint)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.compiler.upstreams {
		for _, e := range u.endpoints {
			do(e)
		}
	}
}
