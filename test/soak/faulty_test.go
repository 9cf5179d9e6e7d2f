package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
)

// fault is what a Docker API does to its client.
type fault string

const (
	sound     fault = "sound"
	failing   fault = "answers 500"
	truncated fault = "cuts its JSON in half"
	emptied   fault = "lists nothing"
)

// faultyAPI has the core read Swarm through Docker APIs that have real engines
// behind them and answer wrongly, each in its way.
func faultyAPI(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 2)
	apis := startFaultyAPIs(t)
	remount := func(args ...string) {
		docker(t, append(append([]string{"service", "update", "--detach=false", "--quiet", "--update-monitor", "1ms"}, args...), "interlock")...)
	}
	// What is added for a target replaces what was there.
	remount("--mount-rm", "/var/run/docker/swarm", "--mount-add", "src=/var/run/faulty/docker.sock,dst=/var/run/docker.sock,type=bind")
	defer remount("--mount-add", "src=/var/run/docker.sock,dst=/var/run/docker.sock,type=bind", "--mount-add", controlSocket)
	i.live(t, "faulty.local")

	l := startLoad(t)
	for n, f := range []fault{failing, truncated, emptied} {
		apis.be(f)
		time.Sleep(time.Duration(often(60, 8)) * time.Second)
		if n := apis.spoiled(f); n == 0 {
			t.Errorf("nobody has asked the API that %s", f)
		}
		apis.be(sound)
		t.Logf("after an API that %s a change was live in %s", f, i.live(t, fmt.Sprintf("sound-%d.local", n)))
	}
	return l.Stop()
}

// faultyAPIs are sockets beside those of the managers' engines.
type faultyAPIs struct {
	mu      sync.Mutex
	fault   fault
	counted map[fault]int
	servers []*http.Server
}

func startFaultyAPIs(t *testing.T) *faultyAPIs {
	t.Helper()
	a := &faultyAPIs{fault: sound, counted: map[fault]int{}}
	var serving sync.WaitGroup
	for _, n := range site.Lab.Managers() {
		dir := filepath.Join(n.RunDir(), "faulty")
		check(t, os.MkdirAll(dir, 0o755))
		socket := filepath.Join(dir, "docker.sock")
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
		check(t, err)
		server := &http.Server{Handler: a.through(n), ReadHeaderTimeout: 10 * time.Second}
		a.servers = append(a.servers, server)
		serving.Go(func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		for _, s := range a.servers {
			_ = s.Close() // whoever is still connected has no use for it
		}
		serving.Wait()
	})
	return a
}

// through forwards to a node's engine, and spoils what comes back.
func (a *faultyAPIs) through(n *lab.Node) http.Handler {
	engine := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	engine.FlushInterval = -1 // events are told at once
	engine.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.Socket())
	}}
	engine.ModifyResponse = a.spoil
	engine.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	return engine
}

// be changes how the APIs answer from now on; streams that are open stay.
func (a *faultyAPIs) be(f fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

// spoiled is how many answers a fault has changed.
func (a *faultyAPIs) spoiled(f fault) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counted[f]
}

// spoil changes answers to GET requests, except for the stream of events.
func (a *faultyAPIs) spoil(r *http.Response) error {
	if r.Request.Method != http.MethodGet || strings.HasSuffix(r.Request.URL.Path, "/events") {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fault == sound {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body.Close()
	switch {
	case a.fault == failing:
		r.StatusCode, r.Status = http.StatusInternalServerError, "500 Internal Server Error"
		body = []byte(`{"message":"rpc error: code = Unknown desc = a fault"}`)
	case a.fault == truncated:
		body = body[:len(body)/2]
	case bytes.HasPrefix(body, []byte("[")):
		body = []byte("[]\n")
	}
	a.counted[a.fault]++
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}
