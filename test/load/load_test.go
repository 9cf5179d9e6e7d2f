package load

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	patience = 10 * time.Second
	briefly  = 300 * time.Millisecond
)

// serve is an app behind a proxy of its own.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func answer(w http.ResponseWriter, metadata string) {
	fmt.Fprintf(w, `{"instance":"one","metadata":%q}`, metadata)
}

func put(o Options) Result {
	o.Routes = []Route{{Host: "shop.local", Path: "/ping", Owner: "shop"}}
	o.Every, o.Timeout, o.Limit = 5*time.Millisecond, patience, briefly
	return Start(o).Wait()
}

func TestEveryKindOfRequestIsSentAndCounted(t *testing.T) {
	var connections, posted atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.ContentLength == int64(len(content)) {
			posted.Add(1)
		}
		answer(w, strings.TrimSuffix(r.Host, ".local"))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	r := put(Options{Proxies: []string{server.Listener.Addr().String()}})
	fresh := 0
	for _, kind := range Kinds() {
		if r.Sent[kind] == 0 {
			t.Errorf("none was sent by %s", kind)
		}
		if kind.KeepAlive {
			fresh++
		} else {
			fresh += r.Sent[kind]
		}
	}
	if got := int(connections.Load()); got != fresh {
		t.Errorf("%d connections for %v, want %d", got, r.Sent, fresh)
	}
	if r.LostInAll() != 0 || r.Misrouted != 0 || r.Tasks["one"] != r.SentInAll() || posted.Load() == 0 {
		t.Errorf("got %+v", r)
	}
}

func TestAnAnswerOfAnotherServiceIsMisrouted(t *testing.T) {
	r := put(Options{Proxies: []string{serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, "news") })}})
	if r.Misrouted == 0 || r.Misrouted != r.SentInAll() || r.LostInAll() != 0 {
		t.Errorf("%d of %d were misrouted, and %d lost", r.Misrouted, r.SentInAll(), r.LostInAll())
	}
}

func TestWhatIsNotAnsweredByAnAppIsLost(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"status 502":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"not the demo": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"broke":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "cut")
		},
	}
	for reason, handler := range tests {
		r := put(Options{Proxies: []string{serve(t, handler)}})
		if r.LostInAll() == 0 || r.LostInAll() != r.SentInAll() || !strings.Contains(r.Losses[0].String(), reason) {
			t.Errorf("%d of %d were lost, want all for %q: %v", r.LostInAll(), r.SentInAll(), reason, r.Losses[:min(1, len(r.Losses))])
		}
	}
}

func TestAKeptConnectionThatBreaksUnderARequestIsALoss(t *testing.T) {
	var served atomic.Int32
	r := put(Options{
		Kinds: []Kind{{http.MethodGet, true}},
		Proxies: []string{serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if served.Add(1) == 3 {
				panic(http.ErrAbortHandler)
			}
			answer(w, "shop")
		})},
	})
	if r.LostInAll() != 1 || !r.Losses[0].Broke {
		t.Errorf("%d were lost, want one that broke: %+v", r.LostInAll(), r.Losses)
	}
}

func TestAConnectionThatWasClosedWhileIdleIsNoLoss(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, "shop") }))
	server.Config.IdleTimeout = time.Millisecond
	server.Start()
	defer server.Close()
	o := Options{Kinds: []Kind{{http.MethodPost, true}}, Proxies: []string{server.Listener.Addr().String()}}
	o.Routes, o.Every, o.Timeout, o.Limit = []Route{{Host: "shop.local", Path: "/ping", Owner: "shop"}}, 100*time.Millisecond, patience, 2*briefly
	if r := Start(o).Wait(); r.LostInAll() != 0 || r.SentInAll() < 2 {
		t.Errorf("%d of %d were lost: %v", r.LostInAll(), r.SentInAll(), r.Losses)
	}
}

func TestWithFailoverAProxyThatIsGoneCostsNothing(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	here := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, "shop") })
	proxies := []string{gone.Listener.Addr().String(), here}
	if r := put(Options{Proxies: proxies, Failover: true}); r.LostInAll() != 0 {
		t.Errorf("%d of %d were lost: %v", r.LostInAll(), r.SentInAll(), r.Losses[0])
	}
	if r := put(Options{Proxies: proxies}); r.LostInAll() == 0 || !strings.Contains(r.Losses[0].Reason, "connect") {
		t.Errorf("without it %d of %d were lost, want those of the proxy that is gone", r.LostInAll(), r.SentInAll())
	}
}
