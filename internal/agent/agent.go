// Package agent keeps one proxy serving: it applies the bundles that it is
// given, so that the proxy serves either the new one or goes on with the one
// before, and keeps the last good one on a volume to start from. A bundle's keys
// it writes to memory only; what it keeps on the volume is encrypted.
//
// It knows no kind of proxy; those implement Proxy in the packages below. It
// does not speak to the core (internal/rpc hands it bundles) and does not look
// into a bundle's files.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

// Proxy is a program that serves the files of a bundle.
type Proxy interface {
	// Check asks the program whether it accepts the files below root, which
	// lie there as they are meant to lie below "/". The error is a *Refused
	// with the program's own words, or says why the program could not be asked.
	Check(ctx context.Context, root string) error
	// Start starts the program with the files in place and returns once it
	// answers the token. With an error nothing is left running.
	Start(ctx context.Context, token string) (Process, error)
}

// ChangeChecker is a Proxy that looks at the files in place too, so that only what
// changes has to be put before it.
type ChangeChecker interface {
	// CheckChange is Check where below root are only those files of all that are
	// not in place as they are to be. Whatever else is in place will go.
	CheckChange(ctx context.Context, root string, all []render.File) error
}

// LoadChecker is a Proxy that checks what it loads: its Start and its Process's
// Reload return a *Refused for all that Check does, and the program goes on with the
// files before. It is not asked twice.
type LoadChecker interface {
	ChecksOnLoad()
}

// Process is a running proxy.
type Process interface {
	// Reload makes the program take up the files in place and returns once it
	// answers the token and nothing takes new requests with the files before.
	// With a *Refused the program goes on with those or has ended, and with
	// ErrNotAsked it does not know of the new ones; with any other error it is
	// not known which files it serves.
	Reload(ctx context.Context, token string) error
	// Quit asks for an end that lets running requests finish, and returns at once.
	Quit()
	// Kill ends the program and all that it started.
	Kill()
	// Done is closed when the program has ended and its ports are free.
	Done() <-chan struct{}
}

// Refused is a judgement of a bundle: the same files will be refused again. It is
// not for what kept the proxy from judging, such as a full disk, nor for a
// question that was not answered. The proxy goes on with the bundle before.
type Refused struct {
	Reason string // in the proxy's own words where it has any
	// Unsure says that a proxy may serve the files all the same, or come to.
	Unsure bool
}

func (r *Refused) Error() string { return r.Reason }

// ErrNotAsked is in what Reload returns when the program never heard of it.
var ErrNotAsked = errors.New("the proxy was not asked")

// ErrEnded is what Apply returns when Run has ended or is ending.
var ErrEnded = errors.New("the agent has ended")

// Options are what an agent needs. Zero durations and sizes stand for the
// defaults that are named beside them.
type Options struct {
	Proxy Proxy
	// Folders are the absolute folders in which a bundle may place files that are
	// not sensitive.
	Folders []string
	// Main is the absolute path of the file that the proxy reads first, without which
	// no bundle is taken; empty: any is.
	Main string
	// SensitiveDir is the absolute folder for a bundle's sensitive files and for
	// nothing else. It is made, for the agent's user alone, and must be in memory.
	SensitiveDir string
	// InMemory reports whether a folder's files are kept in memory only, and never
	// on a disk: by default whether it is on a tmpfs.
	InMemory func(folder string) (bool, error)
	// StateDir is a folder on a volume, for the last good bundle. Several agents
	// may have it in common.
	StateDir string
	// StorageKey is the key of 32 bytes (AES-256) that the last good bundle is
	// encrypted with, as it may hold other keys. It is asked for at each use.
	// Agents that have a StateDir in common need the same one.
	StorageKey func() ([]byte, error)
	// StagingDir is where each bundle gets a folder of its own while it is being
	// checked: the system's for temporary files. It is no part of StateDir, which
	// may be slow, full or another agent's too.
	StagingDir string
	// MaxBundleSize is the greatest size of a bundle's files in bytes: 64 MiB.
	MaxBundleSize int
	// CheckTimeout bounds one question to the proxy about a bundle: 60 s.
	CheckTimeout time.Duration
	// ConfirmTimeout bounds how long the proxy may take to serve a bundle: 60 s.
	ConfirmTimeout time.Duration
	// EndTimeout bounds a graceful end: one hour. It is a last resort, since
	// the operator's stop grace period ends the container before.
	EndTimeout time.Duration
	Logger     *slog.Logger
}

// Agent applies bundles for one proxy. Its exported methods may be called from
// any goroutine.
type Agent struct {
	options  Options
	log      *slog.Logger
	files    files
	board    *board
	requests chan request
	ended    chan struct{}

	// What follows belongs to Run.
	store   *store
	good    *served // the last bundle that the proxy served; nil: none yet
	inPlace *served // the bundle of which all files are in place that are not sensitive; nil: not known
	process Process // nil while the proxy does not run
	retry   retry
	saving  saving
	// wary says that a bundle brought the proxy into trouble other than a refusal, and
	// that none has been served since. Then it is asked before it loads the next.
	wary bool
}

// served is a bundle that the proxy has served.
type served struct {
	bundle       render.Bundle
	version      string
	tableVersion string
}

// request is one call of Apply or Check on its way to Run.
type request struct {
	served
	do    func(context.Context, served) error
	reply chan error // has room for the reply
}

// New returns an agent that does nothing until Run is called.
func New(o Options) *Agent {
	o.MaxBundleSize = withDefault(o.MaxBundleSize, 64<<20)
	o.CheckTimeout = withDefault(o.CheckTimeout, time.Minute)
	o.ConfirmTimeout = withDefault(o.ConfirmTimeout, time.Minute)
	o.EndTimeout = withDefault(o.EndTimeout, time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.InMemory == nil {
		o.InMemory = onTmpfs
	}
	return &Agent{
		options: o, log: o.Logger, board: newBoard(),
		files: files{
			folders: o.Folders, main: o.Main, staging: o.StagingDir, maxSize: o.MaxBundleSize,
			memory: memory{folder: o.SensitiveDir, verify: o.InMemory},
		},
		requests: make(chan request), ended: make(chan struct{}),
		retry: newRetry(), saving: newSaving(),
	}
}

// Run starts the proxy with the last good bundle, keeps it running and applies
// what Apply is given. It may be called once. When ctx ends it lets the proxy
// finish its running requests; the error is that the proxy would not end, or
// that the state folder cannot be used.
func (a *Agent) Run(ctx context.Context) error {
	defer close(a.ended)
	var err error
	if a.store, err = openStore(a.options.StateDir, a.options.StorageKey); err != nil {
		return err
	}
	defer a.store.close()
	a.loadLastGood()
	if a.good != nil {
		a.restart(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return a.end()
		case r := <-a.requests:
			r.reply <- r.do(ctx, r.served)
		case <-a.processDone():
			a.lost()
		case <-a.retry.due:
			a.restart(ctx)
		case <-a.saving.due:
			a.save()
		}
	}
}

// Apply makes the proxy serve the bundle, which must not be changed any more.
// It returns nil when the proxy serves it, and a *Refused when it goes on with
// the one before because of what is in this one. Any other error may pass, and
// the bundle be applied later; the one before is served meanwhile. Bundles are applied one at a time; where ctx ends while one
// is being applied, that goes on and its result shows in the status.
func (a *Agent) Apply(ctx context.Context, b render.Bundle, tableVersion string) error {
	return a.ask(ctx, request{served{b, b.Version(), tableVersion}, a.apply, make(chan error, 1)})
}

// Check asks the proxy about a bundle, which must not be changed any more, and
// changes nothing. It returns nil if the proxy would accept it and a *Refused if
// it would not. Any other error is no judgement of the bundle.
func (a *Agent) Check(ctx context.Context, b render.Bundle) error {
	return a.ask(ctx, request{served{bundle: b}, a.examine, make(chan error, 1)})
}

func (a *Agent) ask(ctx context.Context, r request) error {
	select {
	case a.requests <- r:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the bundle before: %w", ctx.Err())
	case <-a.ended:
		return ErrEnded
	}
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the proxy: %w", ctx.Err())
	}
}

// loadLastGood reads what was served before. Damage is no reason not to start:
// the core sends a bundle as soon as it sees the agent.
func (a *Agent) loadLastGood() {
	last, err := a.store.load(a.options.MaxBundleSize)
	if last != nil && err != nil {
		a.log.Warn("the last good bundle cannot be read; the one before it is used", "error", err)
		err = nil
	}
	if err == nil && last != nil {
		err = a.files.accept(&last.bundle, last.bundle.Files)
	}
	switch {
	case err != nil:
		a.log.Error("the last good bundle cannot be used; waiting for a new one", "error", err)
	case last == nil:
		a.log.Info("no bundle from before; waiting for the first")
	default:
		a.good, a.saving.done = last, last
	}
}

// end lets the proxy finish. Whatever signal the agent got, the proxy is asked
// for a graceful end: the operator's stop grace period bounds it.
func (a *Agent) end() error {
	if a.process == nil {
		a.saveAtLast()
		return nil
	}
	a.log.Info("letting the proxy finish its requests")
	a.process.Quit()
	a.saveAtLast()
	if closesWithin(a.process.Done(), a.options.EndTimeout) {
		return nil
	}
	a.process.Kill()
	if !closesWithin(a.process.Done(), killTimeout) {
		return errors.New("the proxy has not ended even though it was killed")
	}
	return fmt.Errorf("the proxy did not finish its requests within %s and was killed", a.options.EndTimeout)
}

// killTimeout bounds how long the kernel may take to end a killed process.
const killTimeout = 10 * time.Second

func closesWithin(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

func withDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
