package load

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Kind is how requests are sent.
type Kind struct {
	Method    string
	KeepAlive bool // on a connection that earlier requests were sent on
}

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{{http.MethodGet, false}, {http.MethodGet, true}, {http.MethodPost, false}, {http.MethodPost, true}}
}

func (k Kind) String() string {
	if k.KeepAlive {
		return k.Method + " keep-alive"
	}
	return k.Method + " new connection"
}

// Route is what is asked for, and who owns it.
type Route struct {
	Host, Path string
	Owner      string // the metadata that the owner's tasks answer with
}

// Options say what load to put on. Each worker has at most one request on its
// way, so that as many can be in flight at a proxy as it has workers.
type Options struct {
	// Proxies are addresses with a port. Each gets its own workers.
	Proxies []string
	// Failover makes a worker turn to the other proxies where it gets no
	// connection, as clients with several addresses do.
	Failover bool
	Routes   []Route
	Kinds    []Kind        // all, if none
	Workers  int           // for each proxy and kind; 1 if none
	Every    time.Duration // from a worker's request to its next
	Timeout  time.Duration // for one request, the connection included
	Limit    time.Duration // ends the load by itself
}

// Load is what is being put on.
type Load struct {
	options Options
	stop    context.CancelFunc
	workers sync.WaitGroup
	tally   tally
}

// Start puts the load on until Stop, or the limit.
func Start(o Options) *Load {
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	ctx, stop := context.WithTimeout(context.Background(), o.Limit)
	l := &Load{options: o, stop: stop, tally: newTally()}
	for i := range o.Proxies {
		for _, kind := range o.Kinds {
			for range max(o.Workers, 1) {
				w := &worker{options: &l.options, first: i, kind: kind}
				l.workers.Go(func() { w.run(ctx, &l.tally) })
			}
		}
	}
	return l
}

// Stop lets the requests on their way end, and returns what came of all.
func (l *Load) Stop() Result {
	l.stop()
	l.workers.Wait()
	return l.Result()
}

// Wait is Stop at the load's limit.
func (l *Load) Wait() Result {
	l.workers.Wait()
	return l.Stop()
}

// Result is what came of the load so far.
func (l *Load) Result() Result { return l.tally.result() }
