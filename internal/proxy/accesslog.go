package proxy

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// logBatch is how many bytes of lines wait to be written; what comes on top
	// of it is dropped and counted.
	logBatch = 1 << 20
	logPause = 200 * time.Millisecond
)

// accessLog takes lines without waiting for whoever writes them.
type accessLog struct {
	to      io.Writer
	dropped atomic.Int64

	mu      sync.Mutex
	waiting []byte
}

func newAccessLog(to io.Writer) *accessLog {
	return &accessLog{to: to, waiting: make([]byte, 0, 64<<10)}
}

// add logs a request. Without a log, or a format, it does nothing.
func (l *accessLog) add(x *exchange) {
	format := x.server.options().LogFormat
	if l == nil || len(format.Pieces) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > logBatch {
		l.dropped.Add(1)
		return
	}
	l.waiting = appendLine(l.waiting, x, format)
}

// run writes what waits until the context ends, and then the rest.
func (l *accessLog) run(ctx context.Context) {
	ticker := time.NewTicker(logPause)
	defer ticker.Stop()
	spare := make([]byte, 0, 64<<10)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		l.mu.Lock()
		spare, l.waiting = l.waiting, spare[:0]
		l.mu.Unlock()
		if len(spare) == 0 {
			continue
		}
		if _, err := l.to.Write(spare); err != nil {
			// Nobody reads the log; its lines are lost, as when it is too slow.
			l.dropped.Add(int64(bytes.Count(spare, []byte{'\n'})))
		}
	}
}
