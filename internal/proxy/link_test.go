package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func linked(t *testing.T) (*link, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return &link{Conn: near, socket: near, clock: newClock()}, far
}

// What ends a read only for a while must leave the connection as good as before:
// were it closed, the peer's next request could be lost with it.
func TestALinkThatWasInterruptedGoesOn(t *testing.T) {
	l, far := linked(t)
	l.allowRead(time.Minute)
	l.interrupt()
	if _, err := l.read(make([]byte, 1), time.Minute); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("while it is interrupted: %v", err)
	}
	l.resume()
	go func() { _, _ = far.Write([]byte("x")) }()
	if _, err := io.ReadFull(l, make([]byte, 1)); err != nil {
		t.Errorf("after it was resumed: %v", err)
	}
	if l.allowRead(time.Minute); l.readBy == 0 {
		t.Error("its reads have no limit any more")
	}
}

func TestALinkThatWasAbortedDoesNotGoOn(t *testing.T) {
	l, _ := linked(t)
	l.interrupt()
	l.abort()
	l.resume()
	for range 2 {
		if _, err := l.read(make([]byte, 1), time.Minute); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%v", err)
		}
	}
}
