package bench

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/material"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/rpc"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	wholeWayChanges = 20
	// settled is how long what follows a change may still be at work: the store's
	// last bundle, the core's look at what the proxy says.
	settled = time.Second
)

// counted counts the bytes that come in.
type counted struct {
	net.Listener
	bytes atomic.Int64
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return countedConn{conn, c}, err
}

type countedConn struct {
	net.Conn
	by *counted
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.by.bytes.Add(int64(n))
	return n, err
}

// oneProxy delivers to one proxy, whatever the Swarm has, and takes the Swarm's
// word for who accepts connections.
type oneProxy struct {
	*delivery.Deliverer
	swarm *simulated
	proxy delivery.Proxy
}

func (o *oneProxy) Deliver(cluster string, _ []delivery.Proxy, b *delivery.Bundle) {
	o.Deliverer.Deliver(cluster, []delivery.Proxy{o.proxy}, b)
}

func (o *oneProxy) Probe(cluster string, addresses []netip.AddrPort) admission.Answer {
	return o.swarm.Probe(cluster, addresses)
}

// willing is a proxy that takes everything and serves nothing.
type willing struct{ done chan struct{} }

func (w willing) Check(context.Context, string) error { return nil }

func (w willing) Start(context.Context, string) (agent.Process, error) { return w, nil }
func (w willing) Reload(context.Context, string) error                 { return nil }
func (w willing) Quit()                                                { close(w.done) }
func (w willing) Kill()                                                {}
func (w willing) Done() <-chan struct{}                                { return w.done }

// swapping is one that looks at the files in place too, as the native one does.
type swapping struct{ willing }

func (w swapping) CheckChange(context.Context, string, []render.File) error { return nil }

// wholeWay is an installation in one process: a core, an extension and an agent,
// which speak over TLS.
type wholeWay struct {
	swarm           *simulated
	core            *core.Core
	agent           *agent.Agent
	toCore, toAgent *counted
	state           string
}

// startWholeWay starts it. The renderer's files belong below the folder.
func startWholeWay(ctx context.Context, b *testing.B, group *errgroup.Group, folder string, native bool, renderer extension.Renderer) *wholeWay {
	b.Helper()
	authority, err := pki.NewAuthority(time.Now())
	check(b, err)
	identity := func(name pki.Name) *pki.Identity {
		data, err := authority.Issue(name, time.Now(), time.Hour)
		check(b, err)
		identity, err := pki.NewIdentity(data)
		check(b, err)
		return identity
	}
	sign := func(name pki.Name, request []byte) ([]byte, error) {
		return authority.Sign(request, name, time.Now(), time.Hour)
	}
	forCore, forProxy, forExtension := identity(pki.Name{Role: pki.RoleCore}), identity(pki.Name{Role: pki.RoleProxy}), identity(pki.Name{Role: pki.RoleExtension})
	log := slog.New(slog.DiscardHandler)
	w := &wholeWay{swarm: simulate(), toCore: listenCounted(b), toAgent: listenCounted(b), state: filepath.Join(folder, "state")}

	deliverer := delivery.New(delivery.Options{
		TLS: func(cluster string) *tls.Config {
			return forCore.ClientConfig(pki.Name{Role: pki.RoleProxy, Cluster: cluster})
		},
		Sign: func(cluster string, request []byte) ([]byte, error) {
			return sign(pki.Name{Role: pki.RoleProxy, Cluster: cluster}, request)
		},
		RenewAt: pki.RenewAt, Logger: log,
	})
	e := settings.Extension{
		Name: "default", ServiceName: "interlock-ext", ProxyServiceName: "interlock-proxy", ProxyImage: "interlock-proxy", PublishMode: snapshot.PublishHost,
		ProxyConfigPath: filepath.Join(folder, "conf", "main"), TargetPort: 80,
	}
	if native {
		e.Args = []string{"native"}
	}
	w.core = core.New(core.Options{
		Settings: &settings.Settings{ListenAddr: ":8080", PollInterval: 3 * time.Second, Extensions: []settings.Extension{e}},
		Source:   w.swarm, Applier: w.swarm, Issuer: w.swarm, Container: "core", Logger: log,
		Deliverer: &oneProxy{deliverer, w.swarm, delivery.Proxy{Task: "task", Node: "node", Addr: netip.MustParseAddrPort(w.toAgent.Addr().String())}},
	})
	tables := rpc.NewTableServer(rpc.TableServerOptions{Tables: w.core.Tables(), Identity: forCore, Sign: sign, Logger: log})
	client, err := rpc.DialCore(w.toCore.Addr().String(), forExtension)
	check(b, err)
	b.Cleanup(func() { check(b, client.Close()) })
	rendering := extension.New(extension.Options{Core: client, Renderer: renderer, Materials: material.Folder(folder), Identity: forExtension, Logger: log})
	w.agent = newAgent(folder, native, forProxy)
	server := rpc.NewAgentServer(rpc.AgentServerOptions{Agent: w.agent, Identity: forProxy, Health: http.NotFoundHandler(), Logger: log})
	group.Go(func() error { return deliverer.Run(ctx) })
	group.Go(func() error { return tables.Serve(ctx, w.toCore) })
	group.Go(func() error { return rendering.Run(ctx) })
	group.Go(func() error { return w.agent.Run(ctx) })
	group.Go(func() error { return server.Serve(ctx, w.toAgent) })
	group.Go(func() error { return w.core.Run(ctx) })
	return w
}

// newAgent makes one whose proxy takes everything. The bundle's files belong into
// the folder's conf.
func newAgent(folder string, native bool, identity *pki.Identity) *agent.Agent {
	var proxy agent.Proxy = willing{make(chan struct{})}
	if native {
		proxy = swapping{willing{make(chan struct{})}}
	}
	return agent.New(agent.Options{
		Proxy: proxy, Folders: []string{filepath.Join(folder, "conf")}, SensitiveDir: filepath.Join(folder, "keys"),
		InMemory: func(string) (bool, error) { return true, nil }, StateDir: filepath.Join(folder, "state"),
		StorageKey: func() ([]byte, error) { return identity.StorageKey("bench") }, Logger: slog.New(slog.DiscardHandler),
	})
}

// rendererOf is the extension's for a kind of proxy; its main file belongs there.
func rendererOf(kind, file string) extension.Renderer {
	if kind == "native" {
		return &native.Memory{Renderer: native.Renderer{File: file}}
	}
	return &nginx.Memory{}
}

func listenCounted(b *testing.B) *counted {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	return &counted{Listener: listener}
}

// change has one task told to stop, or to run again, and waits until the proxy
// serves that.
func (w *wholeWay) change(b *testing.B, snap *snapshot.Snapshot) {
	b.Helper()
	before, _ := w.agent.Status()
	w.swarm.readings <- snap
	awaitTable(b, w.agent, before.TableVersion)
}

// awaitTable waits until an agent has applied another table than the one before.
func awaitTable(b *testing.B, a *agent.Agent, before string) {
	b.Helper()
	for limit := time.After(time.Minute); ; {
		now, outdated := a.Status()
		if now.TableVersion != before && now.RefusedVersion == "" {
			return
		}
		select {
		case <-outdated:
		case <-limit:
			b.Fatalf("the proxy's status is %+v", now)
		}
	}
}

// BenchmarkWholeWay measures what one task's change in a large Swarm costs all the
// way from the snapshot until the agent has applied the bundle: CPU of all processes
// together, the bytes that travel, and those that the agent's volume gets.
func BenchmarkWholeWay(b *testing.B) {
	for _, kind := range []string{"native", "nginx"} {
		b.Run(kind, func(b *testing.B) {
			folder := b.TempDir()
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var group errgroup.Group
			w := startWholeWay(ctx, b, &group, folder, kind == "native", rendererOf(kind, filepath.Join(folder, "conf", "main")))
			w.change(b, w.swarm.snap)
			time.Sleep(11 * time.Second) // until the core gives up waiting for its own task
			var took []time.Duration
			count := 0
			cpu, toCore, toAgent := cpuTime(), w.toCore.bytes.Load(), w.toAgent.bytes.Load()
			stored, written := w.stored(b), int64(0)
			for b.Loop() {
				for i := range wholeWayChanges {
					snap := w.swarm.stop(i * 997 % manyServices)
					began := time.Now()
					w.change(b, snap)
					took = append(took, time.Since(began))
					count++
					now := w.stored(b)
					if now < stored {
						stored = 0 // the file was written anew
					}
					written, stored = written+now-stored, now
				}
				time.Sleep(settled)
			}
			noTimePerOperation(b)
			b.ReportMetric(milliseconds(cpuTime()-cpu)/float64(count), "cpu-ms/change")
			b.ReportMetric(float64(w.toCore.bytes.Load()-toCore)/float64(count), "B-to-core/change")
			b.ReportMetric(float64(w.toAgent.bytes.Load()-toAgent)/float64(count), "B-to-proxy/change")
			b.ReportMetric(float64(written)/float64(count), "B-stored/change")
			report(b, "change", took)
			cancel()
			check(b, group.Wait())
		})
	}
}

// stored is the size of the last good bundle on the volume.
func (w *wholeWay) stored(b *testing.B) int64 {
	b.Helper()
	info, err := os.Stat(filepath.Join(w.state, "last-good"))
	check(b, err)
	return info.Size()
}
