package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	maxEchoBytes = 32 << 10
	// echoIdleLimit ends a websocket on which nothing is said; long enough to
	// show that an open one survives a proxy's reloads.
	echoIdleLimit  = time.Hour
	echoWriteLimit = 10 * time.Second
)

// echo sends every websocket message back to who sent it. net/http does not wait
// for websockets when it shuts down, so echo keeps count of its own.
type echo struct {
	stopping context.Context // ends when stop is called
	stop     context.CancelFunc
	open     sync.WaitGroup
}

func newEcho() *echo {
	stopping, stop := context.WithCancel(context.Background())
	return &echo{stopping: stopping, stop: stop}
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.open.Add(1)
	defer e.open.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has told the client what was wrong
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxEchoBytes)

	closed := make(chan struct{})
	cancel := context.AfterFunc(e.stopping, func() {
		defer close(closed)
		_ = conn.Close(websocket.StatusGoingAway, "the task stops") // the connection ends either way
	})
	e.talk(r.Context(), conn)
	if !cancel() {
		<-closed
	}
}

// talk echoes until the client leaves, is silent for too long or the app stops.
func (e *echo) talk(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := readMessage(ctx, conn)
		if err != nil {
			return
		}
		if writeMessage(ctx, conn, kind, message) != nil {
			return
		}
	}
}

func readMessage(ctx context.Context, conn *websocket.Conn) (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, echoIdleLimit)
	defer cancel()
	return conn.Read(ctx)
}

func writeMessage(ctx context.Context, conn *websocket.Conn, kind websocket.MessageType, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, echoWriteLimit)
	defer cancel()
	return conn.Write(ctx, kind, message)
}

// wait returns when no websocket is open any more, or ctx's error when that ends first.
func (e *echo) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		e.open.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
