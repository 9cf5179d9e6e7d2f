package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
)

// patience bounds every wait of these tests; it is never waited for in vain.
const patience = 30 * time.Second

// pretended is a proxy that takes everything, and its own process.
type pretended struct {
	started chan string // tokens
	ended   chan struct{}
}

func newPretended() *pretended {
	return &pretended{started: make(chan string, 1), ended: make(chan struct{})}
}

func (p *pretended) Check(context.Context, string) error { return nil }

func (p *pretended) Start(_ context.Context, token string) (agent.Process, error) {
	p.started <- token
	return p, nil
}

func (p *pretended) Reload(context.Context, string) error { return nil }
func (p *pretended) Quit()                                { close(p.ended) }
func (p *pretended) Kill()                                { close(p.ended) }
func (p *pretended) Done() <-chan struct{}                { return p.ended }

// standsBeside runs an agent with everything beside it until it is stopped.
func standsBeside(t *testing.T, o proxyOptions, a *agent.Agent, i *mountedIdentity) (stop func()) {
	t.Helper()
	p := process{stderr: t.Output()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- p.runAgent(ctx, agentPort{listen: o.listen, agent: a, identity: i, log: p.logger()}, agent.NewChildren())
	}()
	return func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with: %v", err)
			}
		case <-time.After(patience):
			t.Error("it does not end")
		}
	}
}

// leaveLastGood makes a state folder as an agent leaves it that has served.
func leaveLastGood(t *testing.T, options agent.Options, i *mountedIdentity, token string) {
	t.Helper()
	proxy := newPretended()
	options.Proxy, options.StorageKey = proxy, i.storageKey
	a := agent.New(options)
	stop := standsBeside(t, proxyOptions{listen: "127.0.0.1:0"}, a, i)
	defer stop()
	file := render.File{Path: filepath.Join(options.Folders[0], "nginx.conf"), Mode: 0o644, Content: render.NewContent([]byte("events {}"))}
	if err := a.Apply(t.Context(), render.Bundle{Token: token, Files: []render.File{file}}, "table"); err != nil {
		t.Fatal(err)
	}
}

func issue(t *testing.T, file string) {
	t.Helper()
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	data, err := authority.Issue(proxyName("default"), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// answersTLS waits until somebody shows a certificate at an address.
func answersTLS(t *testing.T, address string) {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // any certificate will do
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the agent's port is never served: %v", err)
		}
	}
}

func TestAProxyStartsWithItsAgentsPortTaken(t *testing.T) {
	dir := t.TempDir()
	options := agent.Options{Folders: []string{filepath.Join(dir, "etc")}, StateDir: filepath.Join(dir, "state")}
	file := filepath.Join(dir, "identity.pem")
	issue(t, file)
	leaveLastGood(t, options, &mountedIdentity{file: file}, "last good")
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o, i, proxy := proxyOptions{listen: taken.Addr().String()}, &mountedIdentity{file: file}, newPretended()
	options.Proxy, options.StorageKey = proxy, i.storageKey
	stop := standsBeside(t, o, agent.New(options), i)
	defer stop()
	select {
	case token := <-proxy.started:
		if token != "last good" {
			t.Errorf("it starts with %q", token)
		}
	case <-time.After(patience):
		t.Fatal("the proxy does not start")
	}
	taken.Close()
	answersTLS(t, o.listen)
	select {
	case <-proxy.ended:
		t.Error("the proxy was ended")
	default:
	}
}

func TestAnIdentityThatComesLateIsTakenAndKept(t *testing.T) {
	dir := t.TempDir()
	i := &mountedIdentity{file: filepath.Join(dir, "identity.pem")}
	o := proxyOptions{listen: freeAddress(t)}
	options := agent.Options{Proxy: newPretended(), StateDir: filepath.Join(dir, "state"), StorageKey: i.storageKey}
	stop := standsBeside(t, o, agent.New(options), i)
	defer stop()
	if _, err := i.storageKey(); err == nil {
		t.Error("there is a storage key without an identity")
	}
	issue(t, i.file)
	answersTLS(t, o.listen)
	before, err := i.storageKey()
	if err != nil {
		t.Fatal(err)
	}
	issue(t, i.file)
	if after, err := i.storageKey(); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a file that changed gave another storage key: %v", err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
