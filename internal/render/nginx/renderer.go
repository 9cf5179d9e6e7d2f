// Package nginx renders a routing table as the files of an nginx.
//
// It is pure: the same table and parameters give the same bytes. No text of a
// tenant reaches a file but through the typed arguments of its writer, which
// quote for the place that the text goes to; what cannot be expressed there is
// an error. It does not decide what is routed, does not run nginx and does not
// check that nginx accepts the result: that is the agent's part.
package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// Where things stand in the proxy's container.
const (
	// StatusSocket is where nginx answers which bundle it serves.
	StatusSocket = "/run/interlock/status.sock"
	// TempDir is below which nginx keeps what does not fit into memory. It is
	// on the agent's volume, because /run may be memory itself.
	TempDir = "/var/lib/interlock/nginx"
	// StatusPath is the path on the status socket that answers the token.
	StatusPath = "/token"
)

// Renderer makes bundles for nginx.
type Renderer struct {
	// ServerInfo is the value of x-server-info, such as
	// "interlock/0.1.0 (abcdef0) linux/amd64".
	ServerInfo string
	// StatusSocket and TempDir are the constants of those names where empty.
	StatusSocket string
	TempDir      string
	// KeyDir is render.SensitiveDir where empty.
	KeyDir string
	// Split says which tables are divided. Without Interlock's agent only those are
	// that no Docker config could hold.
	Split render.Split
}

// Render makes the bundle for a table: one file at p.ConfigPath and, beside it
// or at KeyDir, what that names. Hosts of which c has no pair, or one that was
// not checked, are the caller's to tell of. The error says which option or which
// part of the table cannot be rendered.
func (r *Renderer) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	return (&Memory{Renderer: *r}).Render(t, p, c)
}

// Memory makes one bundle after the other as its Renderer does, at the cost of
// what has changed: it keeps the plan and the parts of the last one. It is not for
// concurrent use.
type Memory struct {
	Renderer Renderer

	last *division // nil: none is remembered
}

// Render is [Renderer.Render]. Neither table, parameters nor credentials may be
// changed afterwards: the next ones are compared with them.
func (m *Memory) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	last := m.last
	// Nothing that was left half done is ever built on, not even after a panic.
	m.last = nil
	if last != nil && !reflect.DeepEqual(last.parameters, p) {
		last = nil
	}
	b, next, err := m.Renderer.render(t, p, c, last)
	if err != nil {
		return render.Bundle{}, err
	}
	m.last = next
	return b, nil
}

// render makes a bundle, of what the last division has where it can. The next one
// is nil where there are no parts.
func (r *Renderer) render(t *route.Table, p render.Parameters, c render.Credentials, last *division) (b render.Bundle, next *division, err error) {
	if !path.IsAbs(p.ConfigPath) || path.Clean(p.ConfigPath) != p.ConfigPath {
		return b, nil, fmt.Errorf("ProxyConfigPath %.80q is not an absolute path", p.ConfigPath)
	}
	if p.Port == 0 {
		return b, nil, fmt.Errorf("no TargetPort for the proxy to listen on")
	}
	o, err := ParseOptions(p.Config)
	if err != nil {
		return b, nil, err
	}
	keys := r.Keyring(p, c)
	plan, err := newPlan(t, keys, last)
	if err != nil {
		return b, nil, err
	}
	f := file{
		options: o, plan: plan, port: p.Port, sslPort: p.SSLPort, publishedSSLPort: p.PublishedSSLPort, serverInfo: r.ServerInfo,
		given: p.Config, agentless: p.Agentless, configPath: p.ConfigPath,
	}
	if plan.tls {
		if b.Files, err = f.secureFiles(keys, p); err != nil {
			return b, nil, err
		}
	}
	if o.SSLBackendAuthorities != "" {
		file := o.authoritiesFile(p.ConfigPath)
		f.authorities = file.Path
		b.Files = append(b.Files, file)
	}
	f.statusSocket = withDefault(r.StatusSocket, StatusSocket)
	f.tempDir = withDefault(r.TempDir, TempDir)
	if parts := r.Split.Parts(t); parts > 0 && !p.Agentless {
		next = newDivision(t, p, c, plan, parts)
		f.division, f.last = next, last
	} else {
		slices.SortFunc(plan.pools, byPoolName)
		f.out.buf.Grow(plan.textSize())
	}
	b.Token = f.write()
	if p.Agentless && f.out.buf.Len() > render.MaxConfig {
		next = newDivision(t, p, c, plan, configsFor(f.out.buf.Len()))
		f.division, f.out, f.upgradeText = next, writer{}, ""
		b.Token = f.write()
	}
	if f.out.err != nil {
		return b, nil, f.out.err
	}
	b.Files = append(b.Files, next.files()...)
	b.Files = append(b.Files, render.File{Path: p.ConfigPath, Mode: 0o644, Content: render.NewContent(f.out.buf.Bytes())})
	b.Sort()
	return b, next, nil
}

// secureFiles are the files that TLS needs.
func (f *file) secureFiles(keys *Keyring, p render.Parameters) ([]render.File, error) {
	if p.SSLPort == 0 {
		return nil, errors.New("no TargetSSLPort for the proxy to listen on")
	}
	files := keys.Files()
	group, wanted, err := f.options.DHFile(p.ConfigPath)
	if !wanted || err != nil {
		return files, err
	}
	f.dhPath = group.Path
	return append(files, group), nil
}

// file is the configuration file while it is written.
type file struct {
	options Options
	plan    *plan
	port    uint16
	sslPort uint16
	// publishedSSLPort is outside; 0: not known.
	publishedSSLPort uint16
	dhPath           string // of our own parameters; empty: none
	serverInfo       string
	given            map[string]any // the keys of the operator, for whether they are there
	agentless        bool
	configPath       string
	statusSocket     string
	tempDir          string
	authorities      string // the file with those that the operator names; empty: none
	// trusts and trustsHTTP2 say that the operator names authorities for the
	// certificates of tasks.
	trusts, trustsHTTP2 bool
	upgradeText         string
	// operatorHeaders are the operator's own headers of requests to apps.
	operatorHeaders []operatorDirective
	// division is the plan in parts, and last what they were before; nil: there are
	// none.
	division, last *division
	out            writer
}

// write writes the whole file and returns its token: the hash of all that
// stands before the token.
func (f *file) write() (token string) {
	f.main()
	f.stream()
	f.out.block("http", nil, func() {
		f.http()
		pools, hosts := f.plan.pools, f.plan.hosts
		if f.division != nil {
			f.includeParts()
			pools, hosts = nil, nil
		}
		f.pools(pools)
		f.defaultServer()
		f.plainHosts(hosts)
		if f.plan.tls {
			f.refusingServers()
		}
		f.secureHosts(hosts)
		sum := sha256.Sum256(f.out.buf.Bytes())
		token = hex.EncodeToString(sum[:16])
		if !f.agentless {
			f.statusServer(token)
		}
	})
	return token
}

func (f *file) pools(list []*pool) {
	for _, pool := range list {
		f.upstream(pool)
	}
}

func (f *file) plainHosts(list []*host) {
	for _, h := range list {
		if h.plain() {
			f.virtualHost(h)
		}
	}
}

func (f *file) secureHosts(list []*host) {
	for _, h := range list {
		if h.certificate != nil {
			f.secureHost(h)
		}
	}
}

func withDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
