package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// WebsocketOptions say which websockets to open.
type WebsocketOptions struct {
	Proxies    []string // addresses with a port, in turn
	Host, Path string
	Count      int
	Every      time.Duration // from one message to the next, of each
	Timeout    time.Duration // for opening one, and for an echo
	Limit      time.Duration // closes them by itself
}

// WebsocketResult is what came of them.
type WebsocketResult struct {
	Opened, Messages int
	Lost             []string // why; those included that could not be opened
}

// Websockets are open, and talk.
type Websockets struct {
	options WebsocketOptions
	stop    context.CancelFunc
	open    sync.WaitGroup

	mu sync.Mutex
	r  WebsocketResult
}

// opening bounds how many websockets are opened at once.
const opening = 20

// OpenWebsockets opens them all, and returns when it has been tried with each.
func OpenWebsockets(o WebsocketOptions) *Websockets {
	ctx, stop := context.WithTimeout(context.Background(), o.Limit)
	w := &Websockets{options: o, stop: stop}
	tokens := make(chan struct{}, opening)
	var tried sync.WaitGroup
	for n := range o.Count {
		tokens <- struct{}{}
		tried.Add(1)
		w.open.Go(func() {
			conn, err := w.dial(ctx, o.Proxies[n%len(o.Proxies)])
			tried.Done()
			<-tokens
			if err == nil {
				err = w.talk(ctx, conn)
			}
			if err != nil && ctx.Err() == nil {
				w.lost(err)
			}
		})
	}
	tried.Wait()
	return w
}

// Close closes them and returns what came of them.
func (w *Websockets) Close() WebsocketResult {
	w.stop()
	w.open.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r
}

func (w *Websockets) dial(ctx context.Context, proxy string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+proxy+w.options.Path, &websocket.DialOptions{Host: w.options.Host})
	if err != nil {
		return nil, fmt.Errorf("open a websocket: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.r.Opened++
	return conn, nil
}

// talk exchanges messages until ctx ends or the websocket breaks.
func (w *Websockets) talk(ctx context.Context, conn *websocket.Conn) error {
	defer conn.CloseNow()
	tick := time.NewTicker(w.options.Every)
	defer tick.Stop()
	for {
		if err := w.exchange(ctx, conn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Websockets) exchange(ctx context.Context, conn *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(content)); err != nil {
		return err
	}
	_, echo, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	if string(echo) != content {
		return fmt.Errorf("%.40q came back instead of what was said", echo)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.r.Messages++
	return nil
}

func (w *Websockets) lost(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.r.Lost = append(w.r.Lost, err.Error())
}
