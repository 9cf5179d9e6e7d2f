package proxy

import (
	"slices"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// relay sends an answer, whose head has come, to the client.
func (x *exchange) relay(c *upstreamConn) end {
	if x.response.Status == 101 {
		return x.tunnel(c)
	}
	x.facts.status = x.response.Status
	x.content.begin(&x.reply, x.response.Content, x.server.options().Limits.Answer)
	framing := x.response.Content
	if framing.Framing == http1.UntilClose {
		framing.Framing = http1.Chunked
	}
	if framing.Framing == http1.Chunked && x.request.Minor == 0 {
		framing.Framing = http1.UntilClose
		x.request.KeepAlive = false
	}
	if x.server.stopped.Load() {
		x.request.KeepAlive = false // the client must not send its next request here
	}
	x.answerFields(framing)
	err := x.stream(framing.Framing)
	sent := x.upload.join(x)
	// Whoever ends the client's connection just now may have ended this one with it.
	ours := x.conn.asks.CompareAndSwap(c, nil)
	x.upstream = nil
	if err == nil && sent && ours && x.response.KeepAlive && len(x.reply.unread()) == 0 {
		c.endpoint.putIdle(c)
	} else {
		c.Close()
	}
	switch {
	case err != nil:
		return cutOff
	case !sent:
		return closeLate
	case !x.request.KeepAlive:
		return closeNow
	}
	return keepOpen
}

// answerFields puts the head of the answer into out, anew from what was
// understood of the endpoint's.
func (x *exchange) answerFields(framing http1.Content) {
	x.out = statusLine(x.out, x.response.Status, x.response.Reason)
	x.appendFields()
	if !x.response.Has(http1.Date) {
		x.date()
	}
	switch r := &x.response; {
	case framing.Framing != http1.NoContent:
		x.out = http1.AppendContent(x.out, framing)
	case r.Length >= 0 && r.Status != 204:
		// Of an answer without content it is what GET would have got.
		x.out = http1.AppendLength(x.out, r.Length)
	}
	x.endHead()
}

// appendFields appends the fields of an answer that go on to the client.
func (x *exchange) appendFields() {
	hidden := x.server.options().info != nil
	for i := range x.response.Fields {
		f := &x.response.Fields[i]
		if hidden && (f.Known == http1.Info || f.Known == http1.RequestID) || x.response.ForOneHop(f) {
			continue
		}
		x.out = http1.AppendField(x.out, f.Name, f.Value)
	}
}

// trailers are those of an answer that go on: what holds for its fields holds for
// them.
func (x *exchange) trailers() []http1.Field {
	return slices.DeleteFunc(x.content.chunks.Trailers, func(f http1.Field) bool { return x.response.ForOneHop(&f) })
}

// stream sends the content of an answer as it comes, the first of it together
// with the head.
func (x *exchange) stream(framing http1.Framing) error {
	for {
		piece, err := x.content.next(len(x.out) == 0)
		switch {
		case isEOF(err):
			if framing == http1.Chunked {
				x.out = http1.AppendLastChunk(x.out, x.trailers())
			}
			return x.flush()
		case err != nil:
			return err
		case len(piece) == 0:
			err = x.flush()
			if x.reply.w == len(x.reply.buf) {
				x.reply.enlarge()
			}
		case framing == http1.Chunked:
			err = x.chunk(piece)
		default:
			err = x.pass(piece)
		}
		if err != nil {
			return err
		}
	}
}

// pass sends what is too much to be copied.
func (x *exchange) pass(piece []byte) error {
	if len(x.out)+len(piece) <= cap(x.out) {
		x.out = append(x.out, piece...)
		return nil
	}
	if err := x.flush(); err != nil {
		return err
	}
	return x.send(piece)
}

func (x *exchange) chunk(piece []byte) error {
	for len(piece) > 0 {
		if cap(x.out)-len(x.out) < 2*http1.ChunkOverhead {
			if err := x.flush(); err != nil {
				return err
			}
		}
		n := min(len(piece), cap(x.out)-len(x.out)-http1.ChunkOverhead)
		x.out, piece = http1.AppendChunk(x.out, piece[:n]), piece[n:]
	}
	return nil
}
