package cli

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
	"path/filepath"
	"testing"
	"time"

	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// demoAt is a table of demo.local with one app.
func demoAt(app *httptest.Server) *route.Table {
	return &route.Table{
		Hosts:     []route.VirtualHost{{Name: "demo.local", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"demo"}}}}}},
		Upstreams: []route.Upstream{{Name: "demo", Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort(app.Listener.Addr().String()), Task: "task"}}}},
	}
}

// startsStandalone runs one that finds no Docker, and whose last table had an
// app at demo.local. stop ends it as a signal would, and ended waits for that.
func startsStandalone(t *testing.T, app http.HandlerFunc) (address string, stop func(), ended func()) {
	t.Helper()
	backend := httptest.NewServer(app)
	t.Cleanup(backend.Close)
	folder := t.TempDir()
	last := agentnative.NewLastTable(folder, "", slog.New(slog.DiscardHandler))
	last.Keep(demoAt(backend))
	written, cancel := context.WithCancel(t.Context())
	cancel()
	if err := last.Run(written); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	free.Close()
	p := process{stdout: io.Discard, stderr: t.Output()}
	ctx, stop := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- p.runStandalone(ctx, standaloneOptions{docker: "unix://" + filepath.Join(folder, "nobody.sock"), listen: address, state: folder, secrets: folder})
	}()
	return address, stop, func() {
		t.Helper()
		select {
		case err := <-result:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with: %v", err)
			}
		case <-time.After(patience):
			t.Error("it does not end")
		}
	}
}

// asksFor returns what demo.local answers, as soon as the address takes connections.
func asksFor(ctx context.Context, address string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return "", err
	}
	request.Host = "demo.local"
	for {
		response, err := transport.RoundTrip(request)
		if err != nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		return fmt.Sprintf("%d %s", response.StatusCode, content), err
	}
}

// The very first answer counts: there is no time in which clients are told that
// nobody is there.
func TestAStandaloneServesItsLastTableFromTheStartWhileDockerIsAway(t *testing.T) {
	address, stop, ended := startsStandalone(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := asksFor(ctx, address); err != nil || got != "200 hello" {
		t.Errorf("%q, %v", got, err)
	}
	stop()
	ended()
}

func TestAStandaloneThatIsToldToStopFinishesWhatItHasBegun(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	address, stop, ended := startsStandalone(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "hello")
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answers := make(chan string, 1)
	go func() {
		got, err := asksFor(ctx, address)
		answers <- fmt.Sprint(got, err)
	}()
	<-arrived
	stop()
	refuses(ctx, t, address)
	close(release)
	if got := <-answers; got != "200 hello<nil>" {
		t.Error(got)
	}
	ended()
}

func TestAStandaloneLetsRequestsFinishForAsLongAsDockerWaits(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "hello")
	}))
	defer backend.Close()
	options := proxy.Options{Logger: slog.New(slog.DiscardHandler), Limits: proxy.DefaultLimits()}
	options.Limits.Shutdown = time.Nanosecond
	s := &stand{server: proxy.New(options), options: options}
	if err := s.server.Swap(demoAt(backend), nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Run(ctx, proxy.Entrance{Listener: listener}) }()
	answers := make(chan string, 1)
	go func() {
		got, err := asksFor(t.Context(), listener.Addr().String())
		answers <- fmt.Sprint(got, err)
	}()
	<-arrived
	s.endWithin(patience)
	stop()
	refuses(t.Context(), t, listener.Addr().String())
	close(release)
	if got := <-answers; got != "200 hello<nil>" {
		t.Error(got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// refuses waits until an address takes no connections any more.
func refuses(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if ctx.Err() != nil {
			t.Fatal("it still takes connections")
		}
		if err != nil {
			return
		}
		c.Close()
		time.Sleep(10 * time.Millisecond)
	}
}
