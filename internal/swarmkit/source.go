// Package swarmkit reads a Swarm through SwarmKit's control socket, on which a
// manager announces every change, of tasks too, at the moment that it is
// stored: complete lists first, then the stream of what changes.
//
// It changes nothing in Swarm and decides nothing. Where the socket is not to
// be had it returns an error; what is read instead is not its business. Of what
// the socket gives out it decodes only what package snapshot knows, and never
// the bytes of secrets and configs.
package swarmkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	// callLimit bounds a call that a manager answers at once if it is well.
	callLimit = 5 * time.Second
	// listLimit bounds one complete reading; 100,000 tasks are 100 MB.
	listLimit = 30 * time.Second
)

// Options say where the socket is and how to know that it is the Swarm's.
type Options struct {
	// Socket is the path of control.sock. Its folder should be mounted rather
	// than itself: an engine that restarts makes a new one.
	Socket string
	// Root returns the certificate of the Swarm's own authority, in PEM form,
	// and perhaps several while it is being replaced.
	Root func(context.Context) ([]byte, error)
	// Configs are the names of those that are read beside Interlock's own.
	Configs []string
	Logger  *slog.Logger
}

// Source reads one Swarm. Snapshot may be called at any time, but there is one
// Run at a time.
type Source struct {
	opts     Options
	pace     pace
	sizes    sizes
	lastRoot atomic.Pointer[[]byte]
}

// New prepares a source. It opens no connection.
func New(opts Options) *Source { return &Source{opts: opts, pace: steady} }

// Snapshot reads the Swarm once, within half a minute.
func (s *Source) Snapshot(ctx context.Context) (*snapshot.Snapshot, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to be sent
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	l, err := s.lister(conn).everything(ctx)
	if err != nil {
		return nil, err
	}
	return newState(l, s.opts.Configs).snapshot(), nil
}

// Run publishes a complete reading of the Swarm, and then one after every
// change, for as long as the socket serves. It returns nil once ctx is done,
// else why it cannot go on: what it published last is then no longer current.
//
// A stream that breaks is taken up again where it ended, without reading
// everything anew. Where that cannot be Run ends, and may be run again. It
// publishes from one goroutine and delays reading while publish runs.
func (s *Source) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	r := reader{source: s, publish: publish}
	for {
		began := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the session ended because it was to
		}
		if !r.live || errors.As(err, new(silent)) || r.position() == 0 || time.Since(began) < shortSession {
			return err
		}
		r.live = false
		s.opts.Logger.Info("SwarmKit's stream of changes broke; it is taken up where it ended", "error", err)
	}
}

// shortSession is how long a stream must have lasted to be taken up again at
// once, and not only when Run is called again.
const shortSession = time.Second

// errHung is a manager that says nothing at all.
var errHung = fmt.Errorf("no answer within %s", callLimit)

// hung names a deadline of ours that has passed.
func hung(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errHung
	}
	return err
}
