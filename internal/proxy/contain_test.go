package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPanicsAreLoggedWithTheirStacksButNotAllOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newPanics(slog.New(slog.NewTextHandler(&log, nil)))
		fails := func() {
			defer p.contain()
			panic("a fault")
		}
		for range 100 {
			fails()
		}
		time.Sleep(panicPause)
		fails()
		said := log.String()
		if p.count.Load() != 101 || strings.Count(said, "level=ERROR") != 2 || !strings.Contains(said, "unlogged=99") {
			t.Errorf("%d panics, and the log has\n%s", p.count.Load(), said)
		}
		if !strings.Contains(said, `panic="a fault"`) || !strings.Contains(said, "TestPanicsAreLogged") {
			t.Errorf("nobody finds out what has happened:\n%s", said)
		}
	})
}

func TestWhatIsDoneAfterAPanicMayPanicToo(t *testing.T) {
	p := newPanics(nil)
	func() {
		defer p.contain(func() { panic("another") })
		panic("one")
	}()
	if n := p.count.Load(); n != 2 {
		t.Errorf("%d panics", n)
	}
}

// Whoever waits for an answer is told; others finish on the same connection, which
// nobody is asked over any more.
func TestAConnectionThatARequestHasPanickedOverIsLeft(t *testing.T) {
	s := New(Options{Limits: DefaultLimits()})
	m, e := &multiplexed{streams: 2}, &endpoint{}
	e.shared = append(e.shared, m)
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	q := &question{Conn: near, cancel: cancel, clock: s.clock, panics: s.panics, scheme: "http", err: errPanicked}
	go q.run(ctx, far, e, m) // which has no connection that it could ask over
	if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Read(make([]byte, 1)); !errors.Is(err, errPanicked) {
		t.Errorf("whoever waits is told %v", err)
	}
	<-ctx.Done()
	if shared, _, open := e.share("", false); shared != nil || !open {
		t.Error("others are asked over it")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.streams != 1 || s.panics.count.Load() != 1 {
		t.Errorf("%d requests are left, and there were %d panics", m.streams, s.panics.count.Load())
	}
}
