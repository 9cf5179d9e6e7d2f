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
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/logformat"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// Server serves the clients of its listeners by the table that it was given
// last. Before the first it answers 503.
type Server struct {
	configured atomic.Pointer[configured]
	logger     *slog.Logger
	clock      *clock
	panics     *panics
	log        *accessLog
	table      atomic.Pointer[table]

	mu       sync.Mutex // of the tables that are being made
	compiler compiler

	prober  *prober
	clients clients
	http2   http2
	// transport speaks HTTP/2 to endpoints.
	transport *h2.Transport
	stopped   atomic.Bool
	stats     counters
	// unrouted counts the requests that no host of a table takes.
	unrouted tally
	// leaving are the endpoints that tables have no longer and that still work;
	// mu holds for them too.
	leaving []*endpoint
	served  served // mu holds for it too
}

// configured are options made ready for requests.
type configured struct {
	Options
	info []byte // fields that are the same in all answers
}

// Entrance is where clients come in.
type Entrance struct {
	net.Listener
	// TLS says that they speak it.
	TLS bool
}

// New returns a server that has no table yet. Its entrances are served by Run.
func New(o Options) *Server {
	s := &Server{logger: o.Logger, clock: newClock(), panics: newPanics(o.Logger), transport: newTransport()}
	s.table.Store(&table{})
	s.clients.init()
	s.http2.init(o)
	if o.AccessLog != nil {
		s.log = newAccessLog(o.AccessLog)
	}
	s.Configure(o)
	s.prober = newProber(s.clock, s.panics, func() time.Duration { return s.options().Limits.Connect }, o.Accepts)
	return s
}

// Configure replaces the options from the next request on, but for Logger,
// AccessLog, Accepts and the times of idle connections over HTTP/2. What TLS is
// made from holds from the next Swap on.
func (s *Server) Configure(o Options) {
	made := &configured{Options: o}
	if o.LogFormat == nil {
		made.LogFormat = logformat.Trace()
	}
	if !o.HideInfoHeaders {
		made.info = fmt.Appendf(nil, "x-proxy-id: %s\r\nx-server-info: %s\r\n", o.ProxyID, o.ServerInfo)
	}
	s.configured.Store(made)
	s.clients.bound(o.Limits)
}

func (s *Server) options() *configured { return s.configured.Load() }

// Swap serves another table from now on, with the certificates at hand for it.
// Requests that are being served finish where they are; endpoints that the new
// table has not get no more, and their idle connections are closed. On an error
// the old table stands. Neither may be changed afterwards: the next ones are
// compared with them.
func (s *Server) Swap(t *route.Table, c render.Credentials) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, began := s.options(), s.clock.now()
	made, changed, err := s.compiler.compile(t, c, versions{o.MinTLS, o.MaxTLS})
	if err != nil {
		s.stats.swaps.failed.Add(1)
		return fmt.Errorf("making a table ready to serve: %w", err)
	}
	s.table.Store(made)
	for _, e := range changed.gone {
		e.drain()
	}
	for _, e := range changed.doubted {
		if o.Accepted != nil && o.Accepted(e.addr) {
			e.resume()
		} else {
			s.prober.probe(e)
		}
	}
	s.leave(changed.gone)
	s.served.next(t, s.compiler.changed)
	s.stats.swaps.add(s.clock.now() - began)
	return nil
}

// Try says what Swap would with such options, and changes nothing. Where no more
// than endpoints differ from the table that is served, nothing can be wrong.
func (s *Server) Try(t *route.Table, c render.Credentials, o Options) error {
	s.mu.Lock()
	same := s.compiler.serves(t, c, versions{o.MinTLS, o.MaxTLS})
	s.mu.Unlock()
	if same {
		return nil
	}
	return New(o).Swap(t, c)
}

// Run serves the entrances, and those that Admit is called with, until the
// context ends. Then it lets requests finish, within limits, and closes what is
// open.
func (s *Server) Run(ctx context.Context, entrances ...Entrance) error {
	group, ctx := errgroup.WithContext(ctx)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var kept sync.WaitGroup
	kept.Go(func() { s.clock.run(background) })
	kept.Go(func() { s.sweep(background) })
	kept.Go(func() { s.prober.run(background) })
	kept.Go(s.http2.run)
	if s.log != nil {
		kept.Go(func() { s.log.run(background) })
	}
	admitting, endAdmitting := context.WithCancel(background)
	for _, e := range entrances {
		group.Go(func() error { return s.Admit(admitting, e) })
	}
	group.Go(func() error {
		defer endAdmitting()
		<-ctx.Done()
		s.Part()
		return nil
	})
	err := group.Wait()
	within := s.options().Limits.Shutdown
	over := time.Now().Add(within)
	s.clients.await(min(parting, within/2))
	kept.Go(func() { s.http2.shut(time.Until(over)) })
	s.clients.shut(time.Until(over))
	s.closeUpstreams()
	stop()
	kept.Wait()
	return err
}

// Part has all answers say, from now on, that their connection closes. Run does so
// when its context ends; whoever ends entrances of his own does it before, so that
// nobody who sees them closed is told otherwise.
func (s *Server) Part() { s.stopped.Store(true) }

// Cut ends all connections, whatever they are doing.
func (s *Server) Cut() { s.clients.cut() }

// Admit takes connections, which Run serves, until the context ends. Then it takes
// those that are there already, and closes the entrance.
func (s *Server) Admit(ctx context.Context, e Entrance) error {
	defer context.AfterFunc(ctx, func() { s.closeEntrance(e) })()
	defer e.Close()
	for pause := time.Duration(0); ; {
		accepted, err := e.Accept()
		switch {
		case err == nil:
			pause = 0
			s.welcome(accepted, e.TLS)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("taking connections on %s: %w", e.Addr(), err)
		default:
			// Too many open files, for one, pass when connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logger.Warn("A connection could not be taken", "listener", e.Addr().String(), "error", err)
			sleep(ctx, pause)
		}
	}
}

// backlogLimit is how long taking who is connected already may go on: others may
// connect meanwhile, as fast as they are taken.
const backlogLimit = 500 * time.Millisecond

// closeEntrance serves who is connected already, as far as the kernel and the client
// know: closing the entrance would reset those connections.
func (s *Server) closeEntrance(e Entrance) {
	defer e.Close()
	for by := time.Now().Add(backlogLimit); time.Now().Before(by); {
		c := waiting(e.Listener)
		if c == nil {
			return
		}
		s.welcome(c, e.TLS)
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
func (s *Server) welcome(accepted net.Conn, secure bool) {
	defer s.panics.contain(func() { accepted.Close() })
	number := s.stats.accepted.Add(1)
	c := newConn(s, accepted)
	c.number = number
	serve := c.serve
	if secure {
		serve = c.serveTLS
	}
	if !s.clients.enter(c) {
		s.stats.refused.Add(1)
		// Who speaks TLS would not understand a word.
		if serve = c.turnAway; secure || !s.clients.enterAnyway(c) {
			c.Close()
			return
		}
	}
	go func() {
		defer s.clients.leave(c)
		defer s.panics.contain(c.reset)
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
			s.tidy()
		}
	}
}

func (s *Server) tidy() {
	defer s.panics.contain()
	now := s.clock.about()
	s.endpoints(func(e *endpoint) { e.expire(now) })
	s.forget()
	s.http2.crew.thin()
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
