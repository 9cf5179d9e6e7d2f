package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Limits on what one connection may take.
const (
	readHeaderLimit = 10 * time.Second
	// A proxy keeps idle connections for about a minute. Closing ours later
	// than that means that it never sends a request into a closing one.
	idleLimit      = 3 * time.Minute
	writeLimit     = maxSlow + 15*time.Second
	maxHeaderBytes = 64 << 10
)

// drainLimit lets the longest /slow finish. Swarm kills a task after its own
// stop grace period, 10 s unless the service says otherwise.
const drainLimit = maxSlow + 5*time.Second

// server runs the app on one listener.
type server struct {
	app   *app
	http  *http.Server
	drain time.Duration
}

// newServer serves app, over TLS if a configuration is given. At the end it
// lets requests run for up to drain.
func newServer(app *app, tlsConfig *tls.Config, drain time.Duration) *server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &server{
		app:   app,
		drain: drain,
		http: &http.Server{
			Handler:           app.routes(),
			TLSConfig:         tlsConfig,
			Protocols:         &protocols,
			ReadHeaderTimeout: readHeaderLimit,
			IdleTimeout:       idleLimit,
			WriteTimeout:      writeLimit,
			MaxHeaderBytes:    maxHeaderBytes,
		},
	}
}

// serve answers requests until ctx ends, then stops listening and waits for the
// running ones. It reports an error if the listener fails or some had to be cut.
func (s *server) serve(ctx context.Context, listener net.Listener, log io.Writer) error {
	fmt.Fprintf(log, "interlock-demo %s, instance %s, serves %s on %s\n",
		s.app.identity.Version, s.app.identity.Instance, s.scheme(), listener.Addr())

	failed := make(chan error, 1)
	go func() { failed <- s.accept(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve requests: %w", err)
	case <-ctx.Done():
	}
	fmt.Fprintln(log, "interlock-demo stops: no new requests, the running ones finish")
	err := s.stop()
	if accepted := <-failed; !errors.Is(accepted, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve requests: %w", accepted))
	}
	return err
}

func (s *server) scheme() string {
	if s.http.TLSConfig != nil {
		return "https"
	}
	return "http"
}

func (s *server) accept(listener net.Listener) error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(listener, "", "")
	}
	return s.http.Serve(listener)
}

func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	s.app.echo.stop()
	s.app.calls.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("finish the running requests within %v: %w", s.drain, err), s.http.Close())
	}
	if err := s.app.echo.wait(ctx); err != nil {
		return fmt.Errorf("finish the open websockets within %v: %w", s.drain, err)
	}
	return nil
}
