package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

// Content that has gone to one endpoint is not there for another, which would get
// the rest of it for the whole.
func TestContentThatHasBeenPassedOnIsNotSentAgain(t *testing.T) {
	var asked atomic.Int64
	breaks := func(c net.Conn) {
		defer c.Close()
		asked.Add(1)
		if q, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.CopyN(io.Discard, q.Body, 1000)
		}
	}
	table := all()
	for range 3 {
		table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, route.Endpoint{Addr: listen(t, breaks)})
	}
	r := newRig(t)
	r.serve(table)
	const much = 100_000
	long := strings.Repeat("x", much)
	for name, content := range map[string]string{
		"counted": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", much, long),
		"chunked": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", much, long),
	} {
		asked.Store(0)
		got := r.says("PUT / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n" + content)
		if n := asked.Load(); n != 1 || !strings.HasPrefix(got, "HTTP/1.1 502 ") {
			t.Errorf("%s: it was sent %d times: %.60q", name, n, got)
		}
	}
}
