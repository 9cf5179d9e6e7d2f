// Package extension is the loop of an extension process: it takes its cluster's
// tables from the core, has the newest one rendered and hands the bundle back.
//
// It does not know what is rendered, for which kind of proxy, nor how the core
// is reached; it never touches Docker or a proxy, and it keeps nothing that
// outlives the process. It finds the certificates that tables name and tells the
// core which are missing or no good; keys go nowhere but into the bundle.
package extension

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// ErrRejected is wrapped by a Core that will never take what it was given,
// however often it is offered.
var ErrRejected = errors.New("the core rejects it")

// Core is the core as an extension sees it.
type Core interface {
	// Watch calls next with the current publication and every later one, one at a
	// time, until the connection ends or ctx does. It never returns nil.
	Watch(ctx context.Context, next func(render.Publication)) error
	// PutBundle hands back what was rendered from a publication's table.
	PutBundle(ctx context.Context, generation uint64, tableVersion string, r render.Result) error
	// PutFailure says why nothing could be rendered.
	PutFailure(ctx context.Context, generation uint64, tableVersion, reason string) error
	// RenewIdentity has a PKCS #10 request signed. Both sides are DER.
	RenewIdentity(ctx context.Context, request []byte) (certificate []byte, err error)
}

// Renderer turns a table into the files that one kind of proxy needs. The same
// input gives the same bundle: it may remember the last one, but only so that what
// did not change costs less. What it is given is never changed afterwards, and
// nobody calls it twice at once. A host of which the credentials have no pair is
// served without TLS.
type Renderer interface {
	Render(*route.Table, render.Parameters, render.Credentials) (render.Bundle, error)
}

// Identity is what the extension shows the core.
type Identity interface {
	RenewAt() time.Time
	RequestRenewal() (request []byte, err error)
	CompleteRenewal(certificate []byte) error
}

const (
	firstDelay = 100 * time.Millisecond // before the first new attempt
	maxDelay   = 2 * time.Second        // between two attempts
	callLimit  = 30 * time.Second       // for one call to the core
	remindEach = time.Minute            // how often a lasting failure is logged
	lookEach   = time.Hour              // how often certificates are looked at for their age
)

// Options are the parts of an extension. All are required.
type Options struct {
	Core      Core
	Renderer  Renderer
	Materials Materials
	Identity  Identity
	Logger    *slog.Logger
}

// Extension is the loop. It is made by New and runs once.
type Extension struct {
	core     Core
	renderer *cachingRenderer
	identity Identity
	log      *slog.Logger
	// newest holds the newest publication that nobody has looked at yet.
	newest   chan render.Publication
	answered []render.Finding // the last that the core took
}

// New makes an extension.
func New(o Options) *Extension {
	return &Extension{
		core:     o.Core,
		renderer: &cachingRenderer{renderer: o.Renderer, wallet: NewWallet(o.Materials, o.Logger), log: o.Logger},
		identity: o.Identity,
		log:      o.Logger,
		newest:   make(chan render.Publication, 1),
	}
}

// Run works until ctx ends, however often the core goes away. It returns nil.
func (e *Extension) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { e.watch(ctx); return nil })
	group.Go(func() error { e.answerNewest(ctx); return nil })
	group.Go(func() error { e.renewIdentity(ctx); return nil })
	return group.Wait()
}

// watch keeps a stream of publications open. What the core sends at the
// beginning of a stream is always answered, even if it was answered before: a
// core that has just started knows nothing.
func (e *Extension) watch(ctx context.Context) {
	delays := newDelays()
	var logged time.Time
	for {
		err := e.core.Watch(ctx, func(p render.Publication) {
			if !logged.IsZero() {
				e.log.Info("the core is back", "generation", p.Generation)
				logged = time.Time{}
			}
			delays.Reset()
			e.offer(p)
		})
		if ctx.Err() != nil {
			return
		}
		if time.Since(logged) >= remindEach {
			e.log.Warn("no tables from the core, trying again", "error", err)
			logged = time.Now()
		}
		if !pause(ctx, delays.NextBackOff()) {
			return
		}
	}
}

// offer replaces the publication that waits, if one does. Only watch calls it.
func (e *Extension) offer(p render.Publication) {
	select {
	case <-e.newest:
	default:
	}
	e.newest <- p
}

// answerNewest answers each publication until the core has taken the answer or
// a newer publication makes it void.
func (e *Extension) answerNewest(ctx context.Context) {
	delays := newDelays()
	var current render.Publication
	var retry <-chan time.Time
	look := time.NewTicker(lookEach)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case current = <-e.newest:
			delays.Reset()
		case <-retry:
		case <-look.C:
			if retry != nil || !e.aged(current) {
				continue
			}
		}
		retry = nil
		if err := e.answer(ctx, current); err != nil && ctx.Err() == nil {
			delay := delays.NextBackOff()
			e.log.Warn("the answer did not reach the core, trying again",
				"generation", current.Generation, "table", current.Version, "after", delay, "error", err)
			retry = time.After(delay)
		}
	}
}

// aged reports whether there is something else to say of a publication than was
// said: only the age of certificates changes by itself.
func (e *Extension) aged(p render.Publication) bool {
	if p.Table == nil {
		return false
	}
	result, err := e.renderer.render(p)
	return err == nil && !slices.Equal(result.Findings, e.answered)
}

// answer renders a publication and hands the outcome to the core. It fails if
// the core could not be told.
func (e *Extension) answer(ctx context.Context, p render.Publication) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	result, err := e.renderer.render(p)
	if err == nil {
		if err = e.core.PutBundle(ctx, p.Generation, p.Version, result); err == nil {
			e.answered = result.Findings
			e.log.Info("bundle handed to the core", "generation", p.Generation, "table", p.Version,
				"bundle", result.Bundle.Version(), "bytes", result.Bundle.Size(),
				"findings", len(result.Findings), "missing", result.Missing)
			return nil
		}
		if !errors.Is(err, ErrRejected) {
			return err
		}
	}
	e.log.Warn("table not rendered", "generation", p.Generation, "table", p.Version, "error", err)
	err = e.core.PutFailure(ctx, p.Generation, p.Version, err.Error())
	if errors.Is(err, ErrRejected) {
		e.log.Error("the core takes neither a bundle nor a failure", "generation", p.Generation, "error", err)
		return nil
	}
	return err
}

func newDelays() *backoff.ExponentialBackOff {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = firstDelay, maxDelay
	return delays
}

// pause reports whether the time has passed; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
