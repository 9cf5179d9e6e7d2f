package nginx_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/interlock-lb/interlock/internal/route"
)

// echo takes websockets everywhere and repeats what it is told. It counts the
// requests that come with an Upgrade header.
func echo(t *testing.T, upgrades *[]string) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if u := q.Header.Get("Upgrade"); u != "" {
			mu.Lock()
			*upgrades = append(*upgrades, u+" "+q.URL.Path)
			mu.Unlock()
		}
		connection, err := websocket.Accept(w, q, nil)
		if err != nil {
			return
		}
		defer connection.CloseNow()
		for {
			kind, data, err := connection.Read(q.Context())
			if err != nil || connection.Write(q.Context(), kind, data) != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// says opens a websocket and returns what comes back.
func (r *rig) says(ctx context.Context, path, word string) (string, error) {
	connection, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://127.0.0.1:%d%s", r.port, path), &websocket.DialOptions{Host: "demo.local"})
	if err != nil {
		return "", err
	}
	defer connection.CloseNow()
	if err := connection.Write(ctx, websocket.MessageText, []byte(word)); err != nil {
		return "", err
	}
	_, data, err := connection.Read(ctx)
	return string(data), err
}

// To apps that are spoken to in HTTP/1.0 otherwise.
func TestWebsocketsAreOpenedOnTheNamedPathsOnly(t *testing.T) {
	r := newRig(t)
	var upgrades []string
	app := echo(t, &upgrades)
	r.serve(demo([]route.Route{
		{PathPrefix: "/app", Rewrite: true, Websockets: []string{"/app/live"}, Forward: to("app")},
		{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")},
	}, upstream("app", app)), map[string]any{"HTTPVersion": "1.0"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, path := range []string{"/ws", "/ws/room", "/app/live"} {
		if got, err := r.says(ctx, path, "hello"); err != nil || got != "hello" {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"/", "/wss", "/app/", "/app/ws", "/live"} {
		if _, err := r.says(ctx, path, "hello"); err == nil {
			t.Errorf("%s was upgraded", path)
		}
	}
	for _, protocol := range []string{"h2c", "websocket, h2c", "TLS/1.0"} {
		got, err := r.send("demo.local", "/ws", map[string]string{"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2-Settings": "AAMAAABkAAQAAP__"})
		if err != nil || got.status == http.StatusSwitchingProtocols {
			t.Errorf("%s: %+v, %v", protocol, got, err)
		}
	}
	if got, want := strings.Join(upgrades, ", "), "websocket /ws, websocket /ws/room, websocket /live"; got != want {
		t.Errorf("the app was asked to upgrade: %s; want %s", got, want)
	}
}
