package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/render"
)

// proxy does what a test tells it to, and notes what it was asked. Only the
// agent's own goroutine calls it, so what a test sets must be set before.
type proxy struct {
	check  func(root string) error
	start  func(token string) error
	reload func(token string) error
	events []string
	last   *process
}

type process struct {
	proxy *proxy
	done  chan struct{}
	quits bool // ends when asked to
}

func (p *proxy) Check(_ context.Context, root string) error {
	p.events = append(p.events, "check")
	if p.check != nil {
		return p.check(root)
	}
	return nil
}

func (p *proxy) Start(_ context.Context, token string) (agent.Process, error) {
	p.events = append(p.events, "start "+token)
	if p.start != nil {
		if err := p.start(token); err != nil {
			return nil, err
		}
	}
	p.last = &process{proxy: p, done: make(chan struct{}), quits: true}
	return p.last, nil
}

func (p *process) Reload(_ context.Context, token string) error {
	p.proxy.events = append(p.proxy.events, "reload "+token)
	if p.proxy.reload != nil {
		return p.proxy.reload(token)
	}
	return nil
}

func (p *process) Quit() {
	p.proxy.events = append(p.proxy.events, "quit")
	if p.quits {
		close(p.done)
	}
}

func (p *process) Kill() {
	p.proxy.events = append(p.proxy.events, "kill")
	close(p.done)
}

func (p *process) Done() <-chan struct{} { return p.done }

// bench is an agent with a pretended proxy, in a folder of its own.
type bench struct {
	*agent.Agent
	t       *testing.T
	dir     string
	proxy   *proxy
	options agent.Options
	cancel  context.CancelFunc
	ended   chan error
}

func newBench(t *testing.T, p *proxy) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), proxy: p}
	b.options = agent.Options{
		Proxy: p, Folders: []string{b.path("etc"), b.path("run")}, StateDir: b.path("state"), MaxBundleSize: 1000,
		SensitiveDir: b.path("keys"), StorageKey: func() ([]byte, error) { return make([]byte, 32), nil },
		InMemory: func(string) (bool, error) { return true, nil },
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) start() *bench {
	b.Agent = agent.New(b.options)
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	b.ended = make(chan error, 1)
	go func() { b.ended <- b.Run(ctx) }()
	return b
}

// end ends the agent as a signal would, and returns what Run does.
func (b *bench) end() error {
	b.cancel()
	return <-b.ended
}

func (b *bench) stop() {
	b.t.Helper()
	if err := b.end(); err != nil {
		b.t.Errorf("the agent ended with: %v", err)
	}
}

func (b *bench) bundle(token string, names ...string) render.Bundle {
	bundle := render.Bundle{Token: token}
	for _, name := range names {
		bundle.Files = append(bundle.Files, render.File{Path: b.path(name), Mode: 0o640, Content: render.NewContent([]byte(token))})
	}
	return bundle
}

func (b *bench) apply(bundle render.Bundle) error {
	return b.Apply(context.Background(), bundle, "table-"+bundle.Token)
}

func (b *bench) served(bundle render.Bundle) {
	b.t.Helper()
	if err := b.apply(bundle); err != nil {
		b.t.Fatalf("a good bundle is refused: %v", err)
	}
}

func (b *bench) refused(bundle render.Bundle) (reason string) {
	b.t.Helper()
	var refused *agent.Refused
	if err := b.apply(bundle); !errors.As(err, &refused) {
		b.t.Fatalf("want a refusal, got: %v", err)
	}
	return refused.Reason
}

// failed applies a bundle that cannot be applied now, but is not refused.
func (b *bench) failed(bundle render.Bundle) {
	b.t.Helper()
	var refused *agent.Refused
	if err := b.apply(bundle); err == nil || errors.As(err, &refused) {
		b.t.Fatalf("want trouble that may pass, got: %v", err)
	}
}

// holds fails unless a file has the content; empty: it must not exist.
func (b *bench) holds(name, want string) {
	b.t.Helper()
	got, err := os.ReadFile(b.path(name))
	if (err != nil && want != "") || string(got) != want {
		b.t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
	}
}

func (b *bench) asked(want ...string) {
	b.t.Helper()
	if got := b.proxy.events; !slices.Equal(got, want) {
		b.t.Errorf("the proxy was asked\n%q, want\n%q", got, want)
	}
}
