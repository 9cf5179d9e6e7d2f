package proxy

import (
	"errors"
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// expectation is how long an endpoint may think about Expect: 100-continue.
const expectation = time.Second

var errTooLarge = &http1.Malformed{Status: 413, Reason: "the content is larger than this proxy takes"}

// upload is the content of a request on its way to an endpoint. What is short
// is sent together with the head; other content flows while the answer may
// already come back.
type upload struct {
	// whole says that all content there is has been received, and is still
	// there.
	whole bool
	// started and running are about the flow.
	started, running bool
	done             chan error

	content content
	in      inflow
	out     []byte
	to      *upstreamConn
	most    int64     // bytes; 0: no limit
	of      *exchange // whose head says which trailers end here
	send    time.Duration
}

// gather receives content that fits into what is left of the buffer, as clients
// often send it right behind the head.
func (x *exchange) gather(t *target) error {
	u, c, limits := &x.upload, &x.request.Content, &x.server.options().Limits
	u.whole, u.most = true, limits.MaxBody
	if t.http2 && x.request.CallsGRPC() {
		// It may go on for ever, and the app bounds its messages one by one.
		u.most = 0
	}
	if c.Framing == http1.NoContent {
		return nil
	}
	if u.most > 0 && c.Length > u.most {
		u.whole = false
		return errTooLarge
	}
	room := int64(len(x.in.buf) - x.in.r)
	if u.whole = c.Framing == http1.Counted && c.Length <= room && !x.request.Continue; !u.whole {
		return nil
	}
	for int64(len(x.in.unread())) < c.Length {
		if err := x.in.more(limits.Body); err != nil {
			u.whole = false
			return err
		}
	}
	x.in.r += int(c.Length)
	return nil
}

// wholeContent is what gather received.
func (x *exchange) wholeContent() []byte {
	return x.in.buf[x.in.r-int(x.request.Content.Length) : x.in.r]
}

// start lets content flow to an endpoint, from a goroutine that stop or join
// waits for.
func (u *upload) start(x *exchange, c *upstreamConn) {
	limits := &x.server.options().Limits
	buf := takeLarge()
	u.in.use(&x.conn.link, buf, copy(buf, x.in.unread()))
	x.in.r = x.in.w
	u.out, u.to = takeLarge()[:0], c
	u.started = true
	u.send, u.of = limits.Answer, x
	within := limits.Body
	if c.stream {
		// It may be a conversation, in which the client listens for a while.
		within = limits.Answer
	}
	u.content.begin(&u.in, x.request.Content, within)
	u.running = true
	go u.run(c, x.server.panics)
}

// run has the content flow, and says how that went.
func (u *upload) run(c *upstreamConn, p *panics) {
	err := errPanicked
	defer func() {
		u.done <- err
		if err != nil && !errors.Is(err, errEndpointGone) {
			// Whoever waits for an answer finds out why there will be none.
			c.abort()
		}
	}()
	defer p.contain()
	err = u.flow()
}

// flow sends content as it comes. When the client fails, so does the request:
// its answer is not waited for.
func (u *upload) flow() error {
	var err error
	for total := int64(0); err == nil; {
		var piece []byte
		if piece, err = u.content.next(len(u.out) == 0); err != nil {
			break
		}
		if total += int64(len(piece)); u.most > 0 && total > u.most {
			err = errTooLarge
			break
		}
		err = u.pass(piece)
	}
	if isEOF(err) {
		if u.content.framing == http1.Chunked {
			u.out = http1.AppendLastChunk(u.out, u.trailers())
		}
		return u.flush()
	}
	return err
}

// trailers are those that go on: what holds for a client's fields holds for them.
func (u *upload) trailers() []http1.Field {
	return slices.DeleteFunc(u.content.chunks.Trailers, func(f http1.Field) bool { return !u.of.passes(&f, false) })
}

// pass sends a piece, or keeps it to be sent with the next; an empty one says
// that the next is not there yet.
func (u *upload) pass(piece []byte) error {
	if len(piece) == 0 {
		return u.flush()
	}
	if u.content.framing != http1.Chunked {
		return u.write(piece)
	}
	for len(piece) > 0 {
		n := min(len(piece), largeBuffer/2)
		if len(u.out)+n+http1.ChunkOverhead > largeBuffer {
			if err := u.flush(); err != nil {
				return err
			}
		}
		u.out, piece = http1.AppendChunk(u.out, piece[:n]), piece[n:]
	}
	return nil
}

func (u *upload) flush() error {
	if len(u.out) == 0 {
		return nil
	}
	err := u.write(u.out)
	u.out = u.out[:0]
	return err
}

func (u *upload) write(b []byte) error {
	if u.to.write(b, u.send) != nil {
		return errEndpointGone
	}
	return nil
}

// join ends the upload when the answer is over, and reports whether all content
// was sent. An endpoint that has answered before it had all wants no more.
func (u *upload) join(x *exchange) bool {
	if !u.running {
		return u.whole
	}
	const grace = 50 * time.Millisecond
	timer := time.NewTimer(grace)
	defer timer.Stop()
	var err error
	select {
	case err = <-u.done:
		u.running = false
	case <-timer.C:
		x.conn.interrupt()
		u.to.interrupt()
		if err = u.outcome(); err == nil {
			// It was done, and only slow to say so: both connections are as good
			// as before.
			x.conn.resume()
			u.to.resume()
		}
	}
	u.ended(x)
	return err == nil
}

// stop ends the upload after a failure, and returns what the client has done
// wrong, if it was the client.
func (u *upload) stop(x *exchange) error {
	if !u.running {
		return nil
	}
	u.to.abort()
	var err error
	select {
	case err = <-u.done:
		u.running = false
	default:
		// It waits for the client, who has done nothing wrong.
		x.conn.abortReads()
		_, err = u.outcome(), errEndpointGone
	}
	u.ended(x)
	if errors.Is(err, errEndpointGone) || err == nil {
		return nil
	}
	return err
}

// outcome waits until the flow has ended, and returns how.
func (u *upload) outcome() error {
	err := <-u.done
	u.running = false
	return err
}

// ended goes on with what the client has sent behind the content.
func (u *upload) ended(x *exchange) {
	x.past = x.in.buf // the request's head is there
	x.in = u.in
	u.in, u.to, u.of = inflow{}, nil, nil
	giveBack(u.out)
	u.out = nil
}
