package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// startTLS starts a server of HTTPS for a.test with an entrance; stop ends it, and
// ended waits for that.
func startTLS(t *testing.T, entrance net.Listener) (stop, ended func()) {
	t.Helper()
	server := proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), Limits: proxy.DefaultLimits()})
	table, credentials := certified(t, app(t, echo), "a.test")
	if err := server.Swap(table, credentials); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	over := make(chan error, 1)
	go func() { over <- server.Run(ctx, proxy.Entrance{Listener: entrance, TLS: true}) }()
	return cancel, func() {
		t.Helper()
		select {
		case err := <-over:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("the server does not end")
		}
	}
}

var errOne = errors.New("a client of one connection needs another")

// http2Over returns what posts over HTTP/2 on one connection and no other.
func http2Over(t *testing.T, c net.Conn) (post func() error) {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	one := make(chan net.Conn, 1)
	one <- c
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		select {
		case c := <-one:
			return c, nil
		default:
			return nil, errOne
		}
	}
	client := &http.Client{Transport: transport, Timeout: patience}
	return func() error {
		answer, err := client.Post("https://a.test/", "text/plain", strings.NewReader("hello"))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
}

func connect(t *testing.T, to net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWhoHasConnectedOverHTTP2WhenTheServerEndsIsAnswered(t *testing.T) {
	listener := &busy{TCPListener: entrance(t).(*net.TCPListener), closed: make(chan struct{})}
	stop, ended := startTLS(t, listener)
	if err := http2Over(t, connect(t, listener))(); err != nil {
		t.Fatal(err)
	}
	c := connect(t, listener)
	stop()
	if err := http2Over(t, c)(); err != nil {
		t.Errorf("a request when the server ends: %v", err)
	}
	ended()
}

// As with HTTP/1.1 they are answered, and told that the connection closes.
func TestClientsOfHTTP2MayAskOnceMoreWhenTheServerEnds(t *testing.T) {
	listener := entrance(t)
	stop, ended := startTLS(t, listener)
	post := http2Over(t, connect(t, listener))
	if err := post(); err != nil {
		t.Fatal(err)
	}
	stop()
	eventually(t, "the entrance is closed", func() bool {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if err := post(); err != nil {
		t.Errorf("once more: %v", err)
	}
	var err error
	for n := 0; err == nil && n < 10; n++ {
		err = post()
	}
	if !errors.Is(err, errOne) {
		t.Errorf("whoever was told that the connection closes goes on there: %v", err)
	}
	ended()
}

// popular is a listener to which somebody has just connected, whenever one looks.
type popular struct {
	*busy
	t *testing.T
}

func (p popular) SyscallConn() (syscall.RawConn, error) {
	if p.t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
		connect(p.t, p.busy).Close()
	}
	return p.busy.SyscallConn()
}

func TestAServerEndsHoweverManyConnectMeanwhile(t *testing.T) {
	listener := &busy{TCPListener: entrance(t).(*net.TCPListener), closed: make(chan struct{})}
	stop, ended := startTLS(t, popular{busy: listener, t: t})
	if err := http2Over(t, connect(t, listener))(); err != nil {
		t.Fatal(err)
	}
	stop()
	ended()
}
