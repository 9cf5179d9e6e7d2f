// Package native is the native proxy as the agent sees it: a server in the
// agent's own process that serves the table in the bundle.
//
// How it serves is internal/proxy's; what the files say is read by the package
// that wrote them.
package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
)

// Options are what the proxy needs beside a bundle.
type Options struct {
	// File is where the configuration stands in place, KeyDir the only folder
	// from which keys are read. Both are absolute.
	File, KeyDir string
	// Host is the address to listen on; empty: all.
	Host string
	// ProxyID and ServerInfo are what clients are told of the proxy.
	ProxyID, ServerInfo string
	AccessLog           io.Writer // nil: nobody
	// Accepts and Accepted are proxy.Options's.
	Accepts  func(context.Context, netip.AddrPort) bool
	Accepted func(netip.AddrPort) bool
	Logger   *slog.Logger
}

// Proxy is what the agent starts.
type Proxy struct {
	options Options
	// server is the one that was started last; nil: none was.
	server atomic.Pointer[proxy.Server]

	// The agent asks for one thing at a time.
	reader native.Reader
	last   *served // that was read; nil: none was
}

// New returns a proxy that serves nothing until it is started.
func New(o Options) *Proxy {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Proxy{options: o}
}

// Server returns the server that was started last; nil: there is none yet.
func (p *Proxy) Server() *proxy.Server { return p.server.Load() }

// Describe writes down what is being served, for people.
func (p *Proxy) Describe(to io.Writer) error {
	if s := p.Server(); s != nil {
		return s.Describe(to)
	}
	_, err := io.WriteString(to, "no table is served yet\n")
	return err
}

// Check makes the table below root ready to serve, and serves it to nobody.
func (p *Proxy) Check(_ context.Context, root string) error {
	return p.check(func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(root, path)) }, nil)
}

// CheckChange is Check for a table of which parts may be in place.
func (p *Proxy) CheckChange(_ context.Context, root string, all []render.File) error {
	listed := make(map[string]bool, len(all))
	for i := range all {
		listed[all[i].Path] = true
	}
	return p.check(func(path string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			data, err = os.ReadFile(path)
		}
		return data, err
	}, listed)
}

// check reads a table and tries it. Listed are the files of the bundle; nil: all
// that can be opened.
func (p *Proxy) check(open func(path string) ([]byte, error), listed map[string]bool) error {
	c, err := p.read(open)
	if err != nil {
		return err
	}
	for _, path := range c.Parts {
		if listed != nil && !listed[path] {
			return &agent.Refused{Reason: fmt.Sprintf("the table's part %s is not in the bundle", path)}
		}
	}
	server := p.Server()
	if server == nil {
		server = proxy.New(c.options)
	}
	if err := server.Try(c.Table, c.credentials, c.options); err != nil {
		return &agent.Refused{Reason: err.Error()}
	}
	return nil
}

// Start serves the table in place.
func (p *Proxy) Start(ctx context.Context, token string) (agent.Process, error) {
	started := newProcess(p)
	if err := started.Reload(ctx, token); err != nil {
		started.Kill()
		<-started.Done()
		return nil, err
	}
	return started, nil
}

// served is a file, understood.
type served struct {
	*native.Configuration
	credentials render.Credentials
	options     proxy.Options
}

// read reads the files that open opens. It fails with a *agent.Refused where they
// are to blame.
func (p *Proxy) read(open func(path string) ([]byte, error)) (*served, error) {
	c, err := p.reader.Read(p.options.File, open)
	if unreadable := new(fs.PathError); errors.As(err, &unreadable) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, &agent.Refused{Reason: err.Error()}
	}
	if p.last != nil && p.last.Configuration == c {
		return p.last, nil
	}
	made := &served{Configuration: c, options: p.serverOptions(&c.Options)}
	if made.credentials, err = p.credentials(c.Keys); err != nil {
		return nil, err
	}
	p.last = made
	return made, nil
}

// credentials reads the files of keys that the last ones did not name: none of
// them ever changes.
func (p *Proxy) credentials(keys map[string]string) (render.Credentials, error) {
	made, known := make(render.Credentials, len(keys)), make(map[string]render.Pair)
	if p.last != nil {
		for host, path := range p.last.Keys {
			known[path] = p.last.credentials[host]
		}
	}
	for host, path := range keys {
		if filepath.Dir(path) != p.options.KeyDir {
			return nil, &agent.Refused{Reason: fmt.Sprintf("host %.80q: its key is not in %s", host, p.options.KeyDir)}
		}
		pair, there := known[path]
		if !there {
			// Chain and key are in one file; each is found by its kind.
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("reading the key of a host: %w", err)
			}
			pair = render.Pair{Chain: data, Key: data}
			known[path] = pair
		}
		made[host] = pair
	}
	return made, nil
}

func (c *served) swapInto(s *proxy.Server) error {
	if err := s.Swap(c.Table, c.credentials); err != nil {
		return &agent.Refused{Reason: err.Error()}
	}
	return nil
}

func (p *Proxy) serverOptions(o *native.Options) proxy.Options {
	made := Serving(o)
	made.Logger, made.AccessLog = p.options.Logger, p.options.AccessLog
	made.Accepts, made.Accepted = p.options.Accepts, p.options.Accepted
	made.ProxyID, made.ServerInfo = p.options.ProxyID, p.options.ServerInfo
	// How long requests may take to finish is the agent's to say, which ends
	// what goes on for longer.
	made.Limits.Shutdown = endless
	return made
}

// Serving is how a server behaves that an operator has configured like that.
func Serving(o *native.Options) proxy.Options {
	limits := proxy.DefaultLimits()
	limits.Answer, limits.MaxBody = o.ReadTimeout, o.MaxBody
	if o.ConnectTimeout > 0 {
		limits.Connect = o.ConnectTimeout
	}
	if o.MaxConnections > 0 {
		limits.Connections = o.MaxConnections
	}
	override(&limits.Body, o.BodyTimeout)
	override(&limits.Header, o.HeaderTimeout)
	override(&limits.Send, o.SendTimeout)
	override(&limits.Websocket, o.WebsocketTimeout)
	override(&limits.Shutdown, o.Shutdown)
	override(&limits.ConnectionsPerAddress, o.ConnectionsEach)
	override(&limits.Requests, o.Requests)
	if limits.Idle = o.Idle; o.Idle == 0 {
		limits.Idle, limits.Requests = limits.Header, 1
	}
	return proxy.Options{
		HideInfoHeaders: o.HideInfoHeaders, UnderscoresInHeaders: o.Underscores, AddressHash: o.IPHash,
		Trusted: o.Trusted, Authorities: o.Authorities, SkipVerify: o.SkipVerify, MinTLS: o.MinTLS, MaxTLS: o.MaxTLS, SecurePort: o.RedirectPort,
		LogFormat: o.Log, Limits: limits,
	}
}

// override takes the operator's value where there is one.
func override[T time.Duration | int](limit *T, value T) {
	if value > 0 {
		*limit = value
	}
}
