package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// patience bounds waits that end much earlier where things work.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	theCore  = pki.Name{Role: pki.RoleCore}
	eastExt  = pki.Name{Role: pki.RoleExtension, Cluster: "us-east"}
	eastProx = pki.Name{Role: pki.RoleProxy, Cluster: "us-east"}
	westProx = pki.Name{Role: pki.RoleProxy, Cluster: "us-west"}
)

// authority issues what a test needs.
type authority struct {
	*pki.Authority
	t *testing.T
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	made, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority{made, t}
}

func (a authority) identity(name pki.Name) *pki.Identity {
	return a.shortLived(name, time.Hour)
}

func (a authority) shortLived(name pki.Name, lifetime time.Duration) *pki.Identity {
	a.t.Helper()
	data, err := a.Issue(name, time.Now(), lifetime)
	if err != nil {
		a.t.Fatal(err)
	}
	identity, err := pki.NewIdentity(data)
	if err != nil {
		a.t.Fatal(err)
	}
	return identity
}

func (a authority) sign(name pki.Name, request []byte) ([]byte, error) {
	return a.Sign(request, name, time.Now(), time.Hour)
}

// background runs something that has a lifecycle until stop is called or the
// test ends, and fails the test if it fails.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with: %v", err)
			}
		case <-time.After(patience):
			t.Error("it did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// journal is a log that a test can read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) count(text string) int { return strings.Count(j.String(), text) }

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually waits for something that has no channel to wait on.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s never came", what)
		panic("unreachable")
	}
}

// fakeTables is a core that publishes what a test tells it to.
type fakeTables struct {
	mu       sync.Mutex
	current  map[string]render.Publication
	outdated chan struct{}
	answers  chan handedBack
}

type handedBack struct {
	cluster, version string
	generation       uint64
	bundle           render.Bundle
	failure          string
}

func newFakeTables() *fakeTables {
	return &fakeTables{current: map[string]render.Publication{}, outdated: make(chan struct{}), answers: make(chan handedBack, 1000)}
}

func (f *fakeTables) publish(cluster string, generation uint64, host string) {
	f.publishTable(cluster, generation, tableFor(host))
}

func (f *fakeTables) publishTable(cluster string, generation uint64, table *route.Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current[cluster] = render.Publication{
		Generation: generation, Version: table.Version(), Table: table,
		Parameters: render.Parameters{Port: 80, Config: map[string]any{"User": "nginx"}},
	}
	close(f.outdated)
	f.outdated = make(chan struct{})
}

func tableFor(host string) *route.Table {
	return &route.Table{
		Hosts: []route.VirtualHost{{Name: host, Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}}}},
		Upstreams: []route.Upstream{{Name: "app", Endpoints: []route.Endpoint{
			{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Task: "task"},
		}}},
	}
}

func (f *fakeTables) Publication(cluster string) (render.Publication, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current[cluster], f.outdated
}

func (f *fakeTables) PutBundle(cluster string, generation uint64, version string, r render.Result) {
	f.answers <- handedBack{cluster: cluster, generation: generation, version: version, bundle: r.Bundle}
}

func (f *fakeTables) PutFailure(cluster string, generation uint64, version, reason string) {
	f.answers <- handedBack{cluster: cluster, generation: generation, version: version, failure: reason}
}

// fakeAgent stands where a proxy would: it takes every bundle, unless judge says
// otherwise.
type fakeAgent struct {
	judge func(render.Bundle) error

	mu       sync.Mutex
	status   agent.Status
	outdated chan struct{}
	applied  []string // versions, in the order in which they came
	served   render.Bundle
	mute     bool // the status stays as it is
	held     agent.Status
}

func newFakeAgent() *fakeAgent { return &fakeAgent{outdated: make(chan struct{})} }

func (f *fakeAgent) Apply(_ context.Context, b render.Bundle, tableVersion string) error {
	f.mu.Lock()
	f.applied = append(f.applied, b.Version())
	f.mu.Unlock()
	var err error
	if f.judge != nil {
		err = f.judge(b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := agent.Status{BundleVersion: b.Version(), TableVersion: tableVersion}
	if err != nil {
		next = f.status
	} else {
		f.served = b
	}
	if refused := (*agent.Refused)(nil); errors.As(err, &refused) {
		next.RefusedVersion, next.Refusal = b.Version(), err.Error()
	}
	f.set(next)
	return err
}

// Check judges as Apply does.
func (f *fakeAgent) Check(_ context.Context, b render.Bundle) error {
	if f.judge != nil {
		return f.judge(b)
	}
	return nil
}

// set must be called with mu held.
func (f *fakeAgent) set(next agent.Status) {
	if f.held = next; f.mute {
		return
	}
	f.status = next
	close(f.outdated)
	f.outdated = make(chan struct{})
}

func (f *fakeAgent) setMute(mute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mute = mute; !mute {
		f.set(f.held)
	}
}

func (f *fakeAgent) Status() (agent.Status, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, f.outdated
}

func (f *fakeAgent) Served(version string) (render.Bundle, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served, f.served.Version() == version
}

func (f *fakeAgent) versions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.applied...)
}

// serveAgent gives a fake agent its port.
func serveAgent(t *testing.T, f *fakeAgent, identity *pki.Identity, address string, log *slog.Logger) (netip.AddrPort, func()) {
	t.Helper()
	listener := listen(t, address)
	server := rpc.NewAgentServer(rpc.AgentServerOptions{
		Agent: f, Identity: identity, Logger: log,
		Health: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "healthy") }),
	})
	stop := background(t, func(ctx context.Context) error { return server.Serve(ctx, listener) })
	return netip.MustParseAddrPort(listener.Addr().String()), stop
}

// serveTables gives a fake core its port.
func serveTables(t *testing.T, f *fakeTables, a authority, address string, log *slog.Logger) (endpoint string, stop func()) {
	t.Helper()
	listener := listen(t, address)
	server := rpc.NewTableServer(rpc.TableServerOptions{Tables: f, Identity: a.identity(theCore), Sign: a.sign, Logger: log})
	stop = background(t, func(ctx context.Context) error { return server.Serve(ctx, listener) })
	return listener.Addr().String(), stop
}

// relay passes the bytes of one connection on, in both directions.
type relay struct {
	address netip.AddrPort
	dead    chan struct{} // closed by a test: the relay swallows everything from then on
	hungUp  chan struct{} // closed when the client has hung up
}

func relayTo(t *testing.T, to netip.AddrPort) relay {
	t.Helper()
	listener := listen(t, "127.0.0.1:0")
	r := relay{netip.MustParseAddrPort(listener.Addr().String()), make(chan struct{}), make(chan struct{})}
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		defer client.Close()
		server, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
		if err != nil {
			return err
		}
		defer server.Close()
		go r.copy(client, server)
		go func() {
			defer close(r.hungUp)
			r.copy(server, client)
		}()
		<-ctx.Done()
		return nil
	})
	return r
}

func (r relay) copy(to io.Writer, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-r.dead:
		default:
			_, _ = to.Write(buffer[:n])
		}
	}
}
