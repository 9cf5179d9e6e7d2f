package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
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

// A peer who takes what he is sent in most of his time has it each time anew, and one
// who takes nothing has no more.
func TestALimitIsKeptHoweverShort(t *testing.T) {
	for _, within := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 10 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			l, far := linked(t)
			ctx, cancel := context.WithCancel(t.Context())
			go l.clock.run(ctx)
			early := min(time.Second, max(within/8, time.Millisecond))
			for range 100 {
				go func() {
					time.Sleep(within - early - time.Millisecond)
					_, _ = far.Read(make([]byte, 1))
				}()
				if err := l.write([]byte("x"), within); err != nil {
					t.Fatalf("of %v a peer has less: %v", within, err)
				}
			}
			began := time.Now()
			if err := l.write([]byte("x"), within); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			if took := time.Since(began); took > within+tick {
				t.Errorf("a peer who takes nothing has %v, want %v", took, within)
			}
			cancel()
		})
	}
}
