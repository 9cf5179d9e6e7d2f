package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// busy is a listener whose server never comes to accept a second connection.
type busy struct {
	*net.TCPListener
	accepted int
	once     sync.Once
	closed   chan struct{}
}

func (b *busy) Accept() (net.Conn, error) {
	if b.accepted++; b.accepted > 1 {
		<-b.closed
		return nil, net.ErrClosed
	}
	return b.TCPListener.Accept()
}

func (b *busy) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.TCPListener.Close()
}

func TestWhoHasConnectedWhenTheServerEndsIsAnswered(t *testing.T) {
	listener := &busy{TCPListener: entrance(t).(*net.TCPListener), closed: make(chan struct{})}
	server := proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), Limits: proxy.DefaultLimits()})
	if err := server.Swap(all(app(t, echo)), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, proxy.Entrance{Listener: listener}) }()
	for _, when := range []string{"while the server runs", "when the server ends"} {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if when == "when the server ends" {
			cancel()
		}
		if _, err := fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("a request %s: %v", when, err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("a request %s: %s", when, response.Status)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
