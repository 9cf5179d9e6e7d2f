package proxy

import (
	"context"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
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

// add logs a request. Without a log it does nothing.
func (l *accessLog) add(x *exchange) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > logBatch {
		l.dropped.Add(1)
		return
	}
	l.waiting = appendLine(l.waiting, x, x.facts.took)
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
			l.dropped.Add(1)
		}
	}
}

// appendLine appends a line in the format that nginx has here by default.
func appendLine(b []byte, x *exchange, took time.Duration) []byte {
	r, f := &x.request, &x.facts
	b = append(b, x.conn.address...)
	b = append(b, " - - ["...)
	b = append(b, x.server.clock.stamps.Load().local...)
	b = append(b, "] \""...)
	b = appendSafe(b, r.Method)
	b = append(b, ' ')
	b = appendSafe(b, r.Target.Raw)
	if x.conn.version == 2 {
		b = append(b, " HTTP/2.0\" "...)
	} else {
		b = append(b, " HTTP/1."...)
		b = append(b, byte('0'+r.Minor), '"', ' ')
	}
	b = strconv.AppendInt(b, int64(f.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, max(f.sent-int64(f.head), 0), 10)
	for _, k := range []http1.Known{http1.Referer, http1.UserAgent, http1.ForwardedFor} {
		b = append(b, ' ', '"')
		b = appendOr(b, r.Value(k))
		b = append(b, '"')
	}
	b = append(b, " host=\""...)
	b = appendOr(b, r.Host)
	b = append(b, "\" request_id="...)
	b = append(b, x.id[:]...)
	b = append(b, " upstream=\""...)
	if f.endpoint == nil {
		b = append(b, "-\" request_time="...)
		b = appendSeconds(b, took)
		return append(b, " upstream_connect_time=\"-\" upstream_response_time=\"-\"\n"...)
	}
	b = append(b, f.endpoint.text...)
	b = append(b, "\" request_time="...)
	b = appendSeconds(b, took)
	b = append(b, " upstream_connect_time=\""...)
	b = appendSeconds(b, f.connected-f.turned)
	b = append(b, "\" upstream_response_time=\""...)
	b = appendSeconds(b, f.answered-f.turned)
	return append(b, '"', '\n')
}

func appendOr(b, value []byte) []byte {
	if len(value) == 0 {
		return append(b, '-')
	}
	return appendSafe(b, value)
}

// appendSafe appends what a client has sent so that it cannot end a quoted
// string, or a line, as nginx does it.
func appendSafe(b, value []byte) []byte {
	for _, c := range value {
		if c == '"' || c == '\\' || c < ' ' || c >= 0x7f {
			b = append(b, `\x`...)
			b = append(b, "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
			continue
		}
		b = append(b, c)
	}
	return b
}
