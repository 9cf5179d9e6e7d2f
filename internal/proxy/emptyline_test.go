package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// handed is a listener whose connections a test hands over.
type handed struct {
	net.Listener
	conns chan net.Conn
}

func (h handed) Accept() (net.Conn, error) {
	if c, open := <-h.conns; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

// inPieces sends what the server is to receive one after the other, never two
// together, and returns the status of the answer.
func (r *rig) inPieces(pieces ...string) int {
	r.t.Helper()
	entrance := handed{Listener: entrance(r.t), conns: make(chan net.Conn, 1)}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Admit(ctx, proxy.Entrance{Listener: entrance}) }()
	near, far := net.Pipe() // a write returns when all of it has been received
	defer near.Close()
	entrance.conns <- far
	if err := near.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	for _, piece := range pieces {
		if _, err := io.WriteString(near, piece); err != nil {
			r.t.Fatalf("sending %q: %v", piece, err)
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(near), nil)
	if err != nil {
		r.t.Fatalf("after %q: %v", pieces, err)
	}
	answer.Body.Close()
	cancel()
	close(entrance.conns)
	if err := <-ended; err != nil {
		r.t.Errorf("the entrance ended with: %v", err)
	}
	return answer.StatusCode
}

func TestAnEmptyLineBeforeARequestIsSkippedHoweverItComes(t *testing.T) {
	r := newRig(t)
	r.serve(all(app(t, echo)))
	const request = "GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n"
	for name, pieces := range map[string][]string{
		"with the request": {"\r\n" + request},
		"alone":            {"\r\n", request},
		"in two halves":    {"\r", "\n" + request},
		"byte by byte":     strings.Split("\r\n"+request, ""),
	} {
		if status := r.inPieces(pieces...); status != http.StatusOK {
			t.Errorf("%s: %d", name, status)
		}
	}
}

func TestHalfAnEmptyLineIsNoRequest(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Header, o.Limits.Idle = short, patience })
	if got := r.says("\r"); got != "" {
		t.Errorf("%q", got)
	}
}
