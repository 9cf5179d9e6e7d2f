package cli

import (
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

// standsBeside runs an agent with everything beside it until the test ends.
func standsBeside(t *testing.T, o proxyOptions, a *agent.Agent) (stop func()) {
	t.Helper()
	p := process{stderr: t.Output()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.runAgent(ctx, o, a, agent.NewChildren()) }()
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
func leaveLastGood(t *testing.T, options agent.Options, token string) {
	t.Helper()
	proxy := newPretended()
	options.Proxy = proxy
	a := agent.New(options)
	stop := standsBeside(t, proxyOptions{identity: filepath.Join(t.TempDir(), "none")}, a)
	defer stop()
	file := render.File{Path: filepath.Join(options.Folders[0], "nginx.conf"), Mode: 0o644, Data: []byte("events {}")}
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

func TestAProxyStartsWithoutAnIdentityAndWithItsAgentsPortTaken(t *testing.T) {
	dir := t.TempDir()
	options := agent.Options{Folders: []string{filepath.Join(dir, "etc")}, StateDir: filepath.Join(dir, "state")}
	leaveLastGood(t, options, "last good")
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := proxyOptions{listen: taken.Addr().String(), identity: filepath.Join(dir, "identity.pem")}
	proxy := newPretended()
	options.Proxy = proxy
	stop := standsBeside(t, o, agent.New(options))
	defer stop()
	select {
	case token := <-proxy.started:
		if token != "last good" {
			t.Errorf("it starts with %q", token)
		}
	case <-time.After(patience):
		t.Fatal("the proxy does not start")
	}
	issue(t, o.identity)
	taken.Close()
	answersTLS(t, o.listen)
	select {
	case <-proxy.ended:
		t.Error("the proxy was ended")
	default:
	}
}
