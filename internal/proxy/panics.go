package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// panics keeps what goes wrong in the code that serves one connection, or one
// stream of it, from ending the process, and with it what everybody else is served.
//
// Every goroutine of that code defers contain. What a panic leaves undone, as
// counters, locks and other goroutines, is ended by what is deferred below it; what
// it worked with is nobody's any more, as it is in doubt: buffers and exchanges go
// to the garbage collector, connections are closed.
type panics struct {
	logger *slog.Logger
	count  atomic.Uint64

	mu       sync.Mutex
	next     time.Time // when another one may be logged
	unlogged uint64    // since the last one that was
}

// panicPause is the least time between two panics that are logged: stacks are
// long, and a request that causes one may come again and again.
const panicPause = time.Second

// errPanicked is what others are told who wait for what a panic has ended.
var errPanicked = errors.New("the proxy has failed at this; its log says how")

func newPanics(l *slog.Logger) *panics {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &panics{logger: l}
}

// contain is to be deferred. It ends a panic, if there is one, and then does what
// has to be done after one.
func (p *panics) contain(then ...func()) {
	cause := recover()
	if cause == nil {
		return
	}
	p.note(cause, debug.Stack())
	defer p.contain() // what comes last works with what is in doubt
	for _, do := range then {
		do()
	}
}

// note counts a panic, and logs it unless one was logged just before.
func (p *panics) note(cause any, stack []byte) {
	p.count.Add(1)
	unlogged, due := p.due(time.Now())
	if !due {
		return
	}
	p.logger.Error("The proxy has failed at a request: its connection ends, all others go on. Please report this as a bug",
		"panic", fmt.Sprint(cause), "stack", string(stack), "unlogged", unlogged)
}

// due reports whether a panic is to be logged, and how many were not since the last.
func (p *panics) due(now time.Time) (unlogged uint64, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.next) {
		p.unlogged++
		return 0, false
	}
	unlogged, p.unlogged = p.unlogged, 0
	p.next = now.Add(panicPause)
	return unlogged, true
}
