//go:build !race

package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// exchange writes what is asked, and reads what ends in a certain way.
type exchange struct {
	connection net.Conn
	buf        []byte
}

func (x *exchange) read(end []byte) error {
	for n := 0; ; {
		m, err := x.connection.Read(x.buf[n:])
		if n += m; err != nil || bytes.HasSuffix(x.buf[:n], end) {
			return err
		}
	}
}

// frugalApp answers every request that ends in a certain way, and allocates
// nothing for it.
func frugalApp(t *testing.T, end, answer []byte) netip.AddrPort {
	t.Helper()
	return listen(t, func(c net.Conn) {
		defer c.Close()
		x := exchange{c, make([]byte, 4096)}
		for x.read(end) == nil {
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

func TestAProxiedRequestAllocatesNothing(t *testing.T) {
	for name, test := range map[string]struct{ ask, askEnd, answer, answerEnd string }{
		"GET":            {"GET /path?query HTTP/1.1\r\nHost: demo.local\r\nAccept: */*\r\nUser-Agent: x\r\nCookie: session=1\r\n\r\n", "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello", "hello"},
		"POST":           {"POST / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 5\r\n\r\nworld", "world", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		"chunked answer": {"GET / HTTP/1.1\r\nHost: demo.local\r\n\r\n", "\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			// It ends after the server, which has connections to it.
			app := frugalApp(t, []byte(test.askEnd), []byte(test.answer))
			r := newRig(t, func(o *proxy.Options) { o.AccessLog = io.Discard })
			table := all()
			table.Hosts[0].Routes[0].Forward.Affinity.Cookie = "session"
			table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: app}}
			r.serve(table)
			x := exchange{r.dial(), make([]byte, 4096)}
			ask, end := []byte(test.ask), []byte(test.answerEnd)
			one := func() {
				if _, err := x.connection.Write(ask); err != nil {
					t.Fatal(err)
				}
				if err := x.read(end); err != nil {
					t.Fatal(err)
				}
			}
			// The clock and a collection allocate now and then: most runs do not.
			if allocated := testing.AllocsPerRun(2000, one); allocated > 0 {
				t.Errorf("%v allocations a request", allocated)
			}
			x.connection.Close()
		})
	}
}
