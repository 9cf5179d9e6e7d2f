package proxy

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// leaving is a client's connection that ends when all has been written to it.
type leaving struct {
	net.Conn
	end func()
}

func (l *leaving) Write(b []byte) (int, error) {
	defer l.end()
	return l.Conn.Write(b)
}

// A client that leaves when it has its answer is nothing to the one that gets the
// same connection to the endpoint next.
func TestWhoLeavesWithTheLastByteEndsNobodyElsesRequest(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer app.Close()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Limits: DefaultLimits()})
	if err := s.Swap(&route.Table{
		Default:   []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}},
		Upstreams: []route.Upstream{{Name: "app", Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort(app.Listener.Addr().String())}}}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	endAll := func() {
		s.clients.mu.Lock()
		defer s.clients.mu.Unlock()
		for c := range s.clients.open {
			c.end()
		}
	}
	for i, end := range []func(){endAll, func() {}} {
		near, far := net.Pipe()
		defer near.Close()
		s.welcome(&leaving{Conn: far, end: end}, false)
		if _, err := fmt.Fprint(near, "POST / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(near), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		near.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("request %d: %s", i, answer.Status)
		}
		if i == 0 && !s.clients.await(time.Minute) {
			t.Fatal("the client's connection is not left")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
