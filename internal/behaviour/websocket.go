package behaviour

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/interlock-lb/interlock/internal/route"
)

// upgrades is what an app was asked to upgrade.
type upgrades struct {
	mu   sync.Mutex
	seen []string
}

func (u *upgrades) String() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return strings.Join(u.seen, ", ")
}

// repeats takes websockets everywhere and repeats what it is told.
func (s *suite) repeats() (*httptest.Server, *upgrades) {
	s.Helper()
	asked := &upgrades{}
	return s.app(func(w http.ResponseWriter, q *http.Request) {
		if u := q.Header.Get("Upgrade"); u != "" {
			asked.mu.Lock()
			asked.seen = append(asked.seen, u+" "+q.URL.Path)
			asked.mu.Unlock()
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
	}), asked
}

// open opens a websocket.
func (s *suite) open(path string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	connection, _, err := websocket.Dial(ctx, "ws://"+s.proxy.Address()+path, &websocket.DialOptions{Host: "demo.local"})
	return connection, err
}

// hears says a word over a websocket and checks that it comes back.
func (s *suite) hears(connection *websocket.Conn, word string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	if err := connection.Write(ctx, websocket.MessageText, []byte(word)); err != nil {
		s.Fatal(err)
	}
	if _, data, err := connection.Read(ctx); err != nil || string(data) != word {
		s.Errorf("%q came back as %q, %v", word, data, err)
	}
}

// upgraded checks that a path takes websockets.
func (s *suite) upgraded(path string) {
	s.Helper()
	connection, err := s.open(path)
	if err != nil {
		s.Errorf("%s: %v", path, err)
		return
	}
	defer connection.CloseNow()
	s.hears(connection, strings.Repeat("hello ", 1000))
}

func websockets(s *suite) {
	app, asked := s.repeats()
	s.serve(demo([]route.Route{
		{PathPrefix: "/app", Rewrite: true, Websockets: []string{"/app/live"}, Forward: to("app")},
		{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")},
	}, upstream("app", app)))
	for _, path := range []string{"/ws", "/ws/room", "/app/live"} {
		s.upgraded(path)
	}
	for _, path := range []string{"/", "/wss", "/app/", "/app/ws", "/live"} {
		if connection, err := s.open(path); err == nil {
			connection.CloseNow()
			s.Errorf("%s was upgraded", path)
		}
	}
	for _, protocol := range []string{"h2c", "websocket, h2c", "TLS/1.0"} {
		got := s.send("demo.local", "/ws", map[string]string{"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2-Settings": "AAMAAABkAAQAAP__"})
		if got.status == http.StatusSwitchingProtocols {
			s.Errorf("%s: %+v", protocol, got)
		}
	}
	if got, want := asked.String(), "websocket /ws, websocket /ws/room, websocket /live"; got != want {
		s.Errorf("the app was asked to upgrade: %s; want %s", got, want)
	}
}

func websocketRoot(s *suite) {
	app, asked := s.repeats()
	s.serve(demo([]route.Route{{PathPrefix: "/app", Rewrite: true, Websockets: []string{"/app"}, Forward: to("app")}}, upstream("app", app)))
	for _, path := range []string{"/app?room=1", "/app/", "/app/x"} {
		s.upgraded(path)
	}
	if got, want := asked.String(), "websocket /, websocket /, websocket /x"; got != want {
		s.Errorf("the app was asked to upgrade: %s; want %s", got, want)
	}
	if got := s.send("demo.local", "/app?a=b", nil); got.status != http.StatusFound || got.header.Get("Location") != "/app/?a=b" {
		s.Errorf("an ordinary request for the root: %+v; want 302 to /app/?a=b", got)
	}
}

func websocketStays(s *suite) {
	app, _ := s.repeats()
	s.serve(all(app))
	connection, err := s.open("/ws")
	if err != nil {
		s.Fatal(err)
	}
	defer connection.CloseNow()
	s.serve(all(s.sees("other")))
	s.sendsTo("/x", "other /x")
	s.hears(connection, "still here")
}
