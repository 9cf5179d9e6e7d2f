package proxy_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

// switching is an app that switches to a protocol of its own if it is asked in HTTP,
// says again what it hears, and reports what ends that; nil: the other side did.
func switching(t *testing.T) (at netip.AddrPort, ended <-chan error) {
	t.Helper()
	reported := make(chan error, 1)
	return listen(t, func(c net.Conn) {
		defer c.Close()
		reader := bufio.NewReader(c)
		if first, err := reader.Peek(1); err == nil && first[0] == 'G' {
			for line := ""; line != "\r\n"; {
				if line, err = reader.ReadString('\n'); err != nil {
					break
				}
			}
			says(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		}
		_, err := io.Copy(c, reader)
		reported <- err
	}), reported
}

// greeting is what a client of TLS says first.
func greeting(t *testing.T, host string) string {
	t.Helper()
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = tls.Client(near, &tls.Config{ServerName: host}).Handshake() // nobody answers
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b)
	far.Close()
	if <-ended; err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestATunnelThatTheProxyFailsAtIsReset(t *testing.T) {
	greeting := greeting(t, "db.test")
	for name, test := range map[string]struct {
		begin, answer    string
		secure           bool
		reading, writing bool
	}{
		"from a websocket":        {begin: opening, answer: "\r\n\r\n", reading: true},
		"to a websocket":          {begin: opening, answer: "\r\n\r\n", writing: true},
		"from TLS passed through": {begin: greeting, answer: greeting, secure: true, reading: true},
		"to TLS passed through":   {begin: greeting, answer: greeting, secure: true, writing: true},
	} {
		t.Run(name, func(t *testing.T) {
			at, ended := switching(t)
			e := newEndangered(t)
			u := route.Upstream{Name: "app", Endpoints: []route.Endpoint{{Addr: at}}}
			table := demo([]route.Route{{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")}}, u)
			table.Passthrough = []route.Passthrough{{Name: "db.test", Forward: to("app")}}
			e.serve(table)
			if test.secure {
				e.faulty.addr = e.faulty.secureAddr
			}
			c := e.faulty.dial()
			hears(t, c, test.begin, test.answer)
			e.faults.reading.Store(test.reading)
			e.faults.writing.Store(test.writing)
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) || strings.Contains(string(got), "hello") {
				t.Errorf("the client hears %q, and then %v", got, err)
			}
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("what the app hears ends with %v", err)
			}
		})
	}
}
