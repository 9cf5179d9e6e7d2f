package native_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/behaviour"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; it is never waited for in vain.
const patience = 30 * time.Second

// rig is an agent with a native proxy and folders of its own.
type rig struct {
	t             *testing.T
	dir, host     string
	port, sslPort uint16
	agent         *agent.Agent
	cancel        context.CancelFunc
	ended         chan error
	split         render.Split
}

// inParts divides every table.
var inParts = render.Split{Whole: 1, Each: 1}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), host: ownAddress(), port: 8080, sslPort: 8443}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) start() {
	log := slog.New(slog.NewTextHandler(r.t.Output(), nil))
	r.agent = agent.New(agent.Options{
		Proxy: agentnative.New(agentnative.Options{
			File: r.path("run/table.pb"), KeyDir: r.path("keys"), Host: r.host, ProxyID: "proxy-1", ServerInfo: "interlock/test", Logger: log,
		}),
		Folders: []string{r.path("run")}, Main: r.path("run/table.pb"), StateDir: r.path("state"), StorageKey: func() ([]byte, error) { return make([]byte, 32), nil },
		StagingDir: r.t.TempDir(), SensitiveDir: r.path("keys"), InMemory: func(string) (bool, error) { return true, nil },
		Logger: log,
	})
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	ended := make(chan error, 1)
	r.ended = ended
	go func() { ended <- r.agent.Run(ctx) }()
}

// stop ends the agent as a signal would, and waits for it.
func (r *rig) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		r.ended <- nil
		if err != nil {
			r.t.Errorf("the agent ended with: %v", err)
		}
	case <-time.After(patience):
		r.t.Fatal("the agent does not end")
	}
}

func (r *rig) render(table *route.Table, c render.Credentials, config map[string]any) render.Bundle {
	r.t.Helper()
	renderer := native.Renderer{File: r.path("run/table.pb"), KeyDir: r.path("keys"), Split: r.split}
	b, err := renderer.Render(table, render.Parameters{Port: r.port, SSLPort: r.sslPort, PublishedSSLPort: r.sslPort, Config: config}, c)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *rig) apply(b render.Bundle) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.agent.Apply(ctx, b, "table")
}

// rigs counts them in this process.
var rigs atomic.Uint32

// ownAddress is a loopback address that nobody else uses: a port that was found
// free on one that apps use too could be taken by the next app.
func ownAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid%128, 1+pid/128%250, 1+rigs.Add(1)%250)
}

// demo is a table of demo.local alone, with an app that answers its name.
func demo(t testing.TB, name string) *route.Table {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(app.Close)
	return &route.Table{
		Hosts:     []route.VirtualHost{{Name: "demo.local", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"demo"}}}}}},
		Upstreams: []route.Upstream{{Name: "demo", Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort(app.Listener.Addr().String()), Task: "task"}}}},
	}
}

// asks sends a request for demo.local, and returns what came.
func (r *rig) asks(port uint16) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, fmt.Sprintf("http://%s:%d/", r.host, port), nil)
	if err != nil {
		return "", err
	}
	request.Host = "demo.local"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (r *rig) answers(want string) {
	r.t.Helper()
	if got, err := r.asks(r.port); err != nil || got != want {
		r.t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// underTest is a rig as the suite of all proxies sees it.
type underTest struct{ *rig }

func (u underTest) Serve(t *testing.T, table *route.Table, c render.Credentials) {
	t.Helper()
	if err := u.apply(u.render(table, c, nil)); err != nil {
		t.Fatal(err)
	}
}

func (u underTest) Address() string       { return fmt.Sprintf("%s:%d", u.host, u.port) }
func (u underTest) SecureAddress() string { return fmt.Sprintf("%s:%d", u.host, u.sslPort) }

func TestThroughBundlesItBehavesAsAllProxiesDo(t *testing.T) {
	behaviour.Run(t, behaviour.Native, func(t *testing.T) behaviour.Proxy { return underTest{newRig(t)} })
}

func TestInPartsItBehavesAsAllProxiesDo(t *testing.T) {
	behaviour.Run(t, behaviour.Native, func(t *testing.T) behaviour.Proxy {
		r := newRig(t)
		r.split = inParts
		return underTest{r}
	})
}

func TestTheLastGoodBundleIsServedFromTheStart(t *testing.T) {
	r := newRig(t)
	if err := r.apply(r.render(demo(t, "one"), nil, nil)); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.start()
	deadline := time.Now().Add(patience)
	for got, err := r.asks(r.port); got != "one"; got, err = r.asks(r.port) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q, %v", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestABundleThatCannotBeServedIsRefusedAndTheOneBeforeServed(t *testing.T) {
	r := newRig(t)
	if err := r.apply(r.render(demo(t, "one"), nil, nil)); err != nil {
		t.Fatal(err)
	}
	good := r.render(demo(t, "two"), nil, nil)
	garbled := render.Bundle{Token: good.Token, Files: []render.File{{Path: good.Files[0].Path, Mode: 0o644, Content: render.NewContent([]byte("no table"))}}}
	stray := good
	stray.Token = "another"
	for what, b := range map[string]render.Bundle{"garbled": garbled, "with another's token": stray} {
		var refused *agent.Refused
		if err := r.apply(b); !errors.As(err, &refused) || refused.Reason == "" {
			t.Errorf("%s: %v", what, err)
		}
		r.answers("one")
	}
	if err := r.apply(good); err != nil {
		t.Fatal(err)
	}
	r.answers("two")
}

func TestPortsMoveWithoutARestart(t *testing.T) {
	r := newRig(t)
	table := demo(t, "one")
	if err := r.apply(r.render(table, nil, nil)); err != nil {
		t.Fatal(err)
	}
	before := r.port
	r.port = 8081
	if err := r.apply(r.render(table, nil, nil)); err != nil {
		t.Fatal(err)
	}
	r.answers("one")
	if got, err := r.asks(before); err == nil {
		t.Errorf("the port from before answers %q", got)
	}
}

func TestAPortThatIsTakenLeavesTheBundleBeforeInPlace(t *testing.T) {
	r := newRig(t)
	table := demo(t, "one")
	if err := r.apply(r.render(table, nil, nil)); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", r.host+":8082")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := r.port
	r.port = uint16(taken.Addr().(*net.TCPAddr).Port)
	if err := r.apply(r.render(table, nil, nil)); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	r.port = before
	r.answers("one")
}

func TestOptionsOfTheOperatorTakeEffectWithTheTable(t *testing.T) {
	r := newRig(t)
	table := demo(t, "one")
	for _, hidden := range []bool{false, true, false} {
		if err := r.apply(r.render(table, nil, map[string]any{"HideInfoHeaders": hidden})); err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(fmt.Sprintf("http://%s:%d/", r.host, r.port))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("x-proxy-id") == ""; got != hidden {
			t.Errorf("hidden is %v, want %v", got, hidden)
		}
	}
}
