package proxy

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// exchange is one request and its answer, with all buffers that they need. The
// requests of a connection that follow without a pause share one.
type exchange struct {
	conn   *conn
	server *Server

	in       inflow // from the client
	past     []byte // the buffer that the head is in, if it is not that of in
	request  http1.Request
	reply    inflow // from the endpoint
	response http1.Response
	content  content       // of the response
	upload   upload        // of the request
	upstream *upstreamConn // that the request is being asked over; nil: none

	ask []byte // to the endpoint
	out []byte // to the client, not sent yet

	host [256]byte
	path []byte // as it was understood
	id   [32]byte
	// unsettled says that content of the request may still come.
	unsettled bool
	// facts are for the access log.
	facts facts
	tried [maxTries]*endpoint
}

// facts is what became of a request.
type facts struct {
	status   int   // sent to the client; 0: nothing was
	head     int   // bytes of what was sent that are no content
	got, put int64 // bytes, from and to the client
	began    time.Duration
	took     time.Duration // all of it
	endpoint *endpoint
	// tally is where the request is counted, and running where it is counted as
	// one that an endpoint works on; nil: none does.
	tally   *tally
	running *counts
	// connected, answered and took are from when the endpoint was turned to;
	// they are of the last one, where there were several.
	turned, connected, answered time.Duration
}

// end is what becomes of a client's connection after a request.
type end uint8

const (
	keepOpen  end = iota
	closeNow      // the client is gone, or knows that this was the last answer
	closeLate     // the client may still be sending
	cutOff        // the answer is not whole, and the client must notice
)

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.upload.done = make(chan error, 1)
	return x
}}

// takeExchange begins with what the connection has received.
func takeExchange(c *conn) *exchange {
	x := exchanges.Get().(*exchange)
	x.conn, x.server = c, c.server
	x.out = takeSmall()[:0]
	x.in.use(&c.link, c.buf, c.received)
	c.buf = nil
	x.server.stats.exchanges.Add(1)
	return x
}

func (x *exchange) release() {
	x.server.stats.exchanges.Add(-1)
	x.in.drop()
	x.reply.drop()
	giveBack(x.ask)
	giveBack(x.out)
	x.ask, x.out = nil, nil
	x.conn, x.server, x.upstream, x.facts = nil, nil, nil, facts{}
	clear(x.tried[:])
	exchanges.Put(x)
}

// abandon is release after a panic. Who still has its buffers is not known, so that
// nobody gets them again; nor is what was sent to the two sides, so that neither may
// take it for the whole.
func (x *exchange) abandon() {
	x.server.stats.exchanges.Add(-1)
	x.sever()
}

// sever ends both connections, and waits for who still uploads from one to the other.
func (x *exchange) sever() {
	if c := x.upstream; c != nil {
		c.reset()
		c.Close()
	}
	x.conn.abort()
	if x.upload.running {
		_ = x.upload.outcome()
	}
}

// serve serves the requests that are there without waiting for another.
func (x *exchange) serve() end {
	for {
		if x.in.skipEmptyLine(x.server.options().Limits.Header) != nil {
			return closeNow // who sends half a line asks for nothing
		}
		if len(x.in.unread()) == 0 {
			return keepOpen
		}
		x.facts = facts{began: x.server.clock.now(), tally: &x.server.unrouted}
		x.out, x.path, x.request.KeepAlive = x.out[:0], nil, false
		end := x.counted()
		if x.facts.status != 0 {
			x.server.log.add(x)
		}
		giveBack(x.past)
		x.past = nil
		if end != keepOpen {
			return end
		}
		x.in.base = 0
	}
}

// counted serves one request, which is counted even if it panics.
func (x *exchange) counted() end {
	defer x.account()
	defer func() {
		if x.upload.running { // after a panic only: it still counts bytes
			x.sever()
		}
	}()
	return x.one()
}

// one serves one request.
func (x *exchange) one() end {
	limits := &x.server.options().Limits
	n, err := x.in.head(limits.Header)
	if err == nil {
		head := x.in.unread()[:n]
		x.in.r += n
		x.in.base = x.in.r
		err = x.request.Parse(head)
	} else {
		// What is left there is another's.
		x.request = http1.Request{Fields: x.request.Fields[:0]}
	}
	x.newID()
	x.upload.whole, x.upload.started, x.unsettled = false, false, false
	if err != nil {
		return x.refuse(err)
	}
	x.conn.served++
	if x.conn.served >= limits.Requests || x.server.stopped.Load() {
		x.request.KeepAlive = false
	}
	t, err := x.route()
	switch {
	case err != nil:
		return x.refuse(err)
	case t == nil:
		return x.finishPage()
	}
	return x.forward(t)
}

// refuse answers a request that cannot be served for what it is, or for how it
// came. The connection ends: where the next request begins is not known.
func (x *exchange) refuse(err error) end {
	x.request.KeepAlive = false
	switch malformed, is := errors.AsType[*http1.Malformed](err); {
	case is:
		x.page(malformed.Status, malformed.Reason)
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.page(408, "the request was not sent in time")
	default:
		return closeNow // the client is gone
	}
	if x.flush() != nil {
		return closeNow
	}
	return closeLate
}

// finishPage sends an answer of our own.
func (x *exchange) finishPage() end {
	switch err := x.flush(); {
	case err != nil:
		return closeNow
	case x.unsettled:
		return closeLate
	case !x.request.KeepAlive:
		return closeNow
	}
	return keepOpen
}

// settle skips content that no endpoint will get. Where it is not there the
// connection ends, as it is not known whether it will ever come.
func (x *exchange) settle() {
	c, u := &x.request.Content, &x.upload
	switch {
	case u.whole, c.Framing == http1.NoContent:
	case !u.started && c.Framing == http1.Counted && int64(len(x.in.unread())) >= c.Length:
		x.in.r += int(c.Length)
	default:
		x.unsettled, x.request.KeepAlive = true, false
	}
}

// flush sends what waits in out.
func (x *exchange) flush() error {
	if len(x.out) == 0 {
		return nil
	}
	err := x.send(x.out)
	x.out = x.out[:0]
	return err
}

func (x *exchange) send(b []byte) error {
	if err := x.conn.write(b, x.server.options().Limits.Send); err != nil {
		return errClientGone
	}
	return nil
}

var (
	errClientGone   = errors.New("the client takes no more")
	errEndpointGone = errors.New("the endpoint takes no more")
)

// isEOF reports whether a peer closed its connection in good order.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }
