package native

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/route"
)

// slow is a listener that never comes to accept, and that takes its time when it is
// asked who waits.
type slow struct {
	*net.TCPListener
	once   sync.Once
	closed chan struct{}
}

func (s *slow) Accept() (net.Conn, error) {
	<-s.closed
	return nil, net.ErrClosed
}

func (s *slow) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.TCPListener.Close()
}

func (s *slow) SyscallConn() (syscall.RawConn, error) {
	time.Sleep(200 * time.Millisecond)
	return s.TCPListener.SyscallConn()
}

func TestWhoIsTheOnlyClientOfAProxyThatEndsIsAnswered(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	p := newProcess(&Proxy{options: Options{Logger: log}})
	if err := p.serve(&served{
		Configuration: &native.Configuration{Table: &route.Table{}},
		options:       proxy.Options{Logger: log, Limits: proxy.DefaultLimits()},
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { <-p.Done() }()
	defer p.Kill()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.admit(map[door]net.Listener{{}: &slow{TCPListener: listener.(*net.TCPListener), closed: make(chan struct{})}})
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.Quit()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: nobody.local\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable || !answer.Close {
		t.Errorf("%s, close: %t", answer.Status, answer.Close)
	}
}
