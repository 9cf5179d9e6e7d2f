// Package docker reads a Swarm through the Docker API and applies changes to
// its services, secrets and configs.
//
// It is the only place that knows moby's types: what it reads it returns as package snapshot's, and it writes
// into a service only what snapshot.ServiceSpec models. Everything else in a
// specification is the operator's and stays as it is.
//
// It decides nothing: which tasks take traffic is internal/route's to say, and
// which services ought to exist is internal/plan's. It never asks an image
// registry anything.
package docker

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// DefaultPollInterval is how often the API is read if Options does not say.
const DefaultPollInterval = 3 * time.Second

const (
	// readLimit bounds one complete reading, writeLimit one change.
	readLimit  = 10 * time.Second
	writeLimit = 30 * time.Second
)

// Options say where the Docker API is and how often to read it.
type Options struct {
	// URL is unix:///path/to/docker.sock or SCHEME://host:port. The scheme
	// https is TLS, http is not, and tcp is TLS where the fields below ask for
	// it. With a unix URL they have no effect.
	URL string
	// CACert, Cert and Key are PEM files for an API behind TLS; an http URL is
	// an error beside them. CACert alone verifies the API; Cert and Key
	// together say who we are.
	CACert, Cert, Key string
	// AllowInsecure speaks TLS without verifying the API's certificate; with
	// an http URL it has no effect.
	AllowInsecure bool
	// PollInterval is how often the API is read when nothing announces a
	// change; zero is DefaultPollInterval.
	PollInterval time.Duration
	// Configs are the names of those that are read beside Interlock's own.
	Configs []string
	Logger  *slog.Logger
}

// Client is a connection to the Docker API of a Swarm manager. Its methods may
// be called concurrently, but there is one Run at a time.
type Client struct {
	api  *client.Client
	http *http.Client // for the lists, which the typed client reads all or nothing
	base string       // scheme and authority of a request through http
	url  string       // as the operator gave it, for messages
	poll time.Duration
	log  *slog.Logger
	// configs are the names of those that are read beside Interlock's own.
	configs []string

	negotiating sync.Mutex
	version     string // of the API; empty until negotiated

	last   atomic.Pointer[snapshot.Snapshot] // the latest complete reading
	faults faultLog
	health health
}

// Dial prepares a client. It opens no connection, so an engine that is not
// there is found by Check, but the TLS files must be readable.
func Dial(_ context.Context, opts Options) (*Client, error) {
	to, err := newAccess(opts)
	if err != nil {
		return nil, err
	}
	caller := &http.Client{Transport: to.transport, CheckRedirect: client.CheckRedirect}
	api, err := client.New(client.WithHTTPClient(caller), client.WithHost(to.host))
	if err != nil {
		to.transport.CloseIdleConnections()
		return nil, faultyURL(opts.URL, err.Error())
	}
	c := &Client{api: api, http: caller, base: to.base, url: opts.URL, poll: opts.PollInterval, configs: opts.Configs, log: opts.Logger}
	if c.poll <= 0 {
		c.poll = DefaultPollInterval
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Close gives up the idle connections. Run and every call must have returned.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	_ = c.api.Close() // always nil: it closes idle connections too
}

// Run publishes every complete reading of the Swarm that differs from the one
// before, until ctx is done; then it returns nil. It has no other end: while
// the API cannot be read nothing is published, which is logged once for each
// different error. A slow publish delays the next reading.
func (c *Client) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	p := poller{read: c.Snapshot, readTasks: c.snapshotOfTasks, watch: c.watch, every: c.poll, log: c.log, health: &c.health}
	p.run(ctx, publish)
	return nil
}

// Health says why what Run published last may be out of date: no complete
// reading has come for longer than one may take. With the default PollInterval
// that is seen after eight seconds of silence. It is nil while Run does not run.
func (c *Client) Health() error { return c.health.now() }
