package proxy

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// inflow is the receiving side of a connection: a buffer, of which buf[r:w] has
// been received and not been used yet.
type inflow struct {
	link *link
	buf  []byte
	r, w int
	// base is where the part of the buffer begins that is filled again and
	// again; the head of a request stands before it while its content is read.
	base int
}

func (f *inflow) unread() []byte { return f.buf[f.r:f.w] }

var errFull = errors.New("what belongs together does not fit into the buffer")

// more receives once. What is unread stays together, and moves to the start of
// what may be filled when there is no room behind it.
func (f *inflow) more(within time.Duration) error {
	if f.r == f.w {
		f.r, f.w = f.base, f.base
	}
	if f.w == len(f.buf) {
		if f.r == f.base {
			return errFull
		}
		f.w = f.base + copy(f.buf[f.base:], f.unread())
		f.r = f.base
	}
	n, err := f.link.read(f.buf[f.w:], within)
	f.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// use goes on with what was received in a buffer.
func (f *inflow) use(l *link, buf []byte, received int) {
	*f = inflow{link: l, buf: buf, w: received}
}

// enlarge goes on with a large buffer, and keeps nothing but what is unread.
func (f *inflow) enlarge() {
	if len(f.buf) == largeBuffer {
		return
	}
	b := takeLarge()
	received := copy(b, f.unread())
	giveBack(f.buf)
	f.use(f.link, b, received)
}

// drop gives the buffer back.
func (f *inflow) drop() {
	giveBack(f.buf)
	*f = inflow{}
}

// head returns the length of the head that the unread bytes begin with, and
// receives until it is whole, which may take so long in all.
func (f *inflow) head(within time.Duration) (int, error) {
	seen := 0
	by := time.Duration(0)
	for {
		n, err := http1.HeadLength(f.unread(), seen)
		if n > 0 || err != nil {
			return n, err
		}
		seen = f.w - f.r
		now := f.link.clock.about()
		if by == 0 {
			by = now + within
		}
		if f.w == len(f.buf) && f.r == 0 {
			f.enlarge()
		}
		if err := f.more(max(by-now, time.Millisecond)); err != nil {
			return 0, err
		}
	}
}

// content reads what follows a head, piece by piece.
type content struct {
	from    *inflow
	within  time.Duration // for each receipt
	framing http1.Framing
	left    int64 // of http1.Counted, in bytes
	chunks  http1.Chunks
}

func (c *content) begin(from *inflow, what http1.Content, within time.Duration) {
	c.from, c.within, c.framing, c.left = from, within, what.Framing, what.Length
	c.chunks.Reset()
}

// next returns the next piece, which is good until the one after it is asked
// for, and io.EOF behind the last. wait says whether it may receive; else a
// piece may be empty.
func (c *content) next(wait bool) ([]byte, error) {
	for {
		piece, err := c.received()
		if len(piece) > 0 || err != nil || !wait {
			return piece, err
		}
		if err := c.from.more(c.within); err != nil {
			return nil, c.ended(err)
		}
	}
}

// received returns the next piece of what was received already.
func (c *content) received() ([]byte, error) {
	f := c.from
	switch c.framing {
	case http1.Chunked:
		piece, n, done, err := c.chunks.Next(f.unread())
		f.r += n
		if done {
			err = io.EOF
		}
		return piece, err
	case http1.Counted:
		piece := f.unread()
		piece = piece[:min(int64(len(piece)), c.left)]
		f.r += len(piece)
		if c.left -= int64(len(piece)); len(piece) == 0 && c.left == 0 {
			return nil, io.EOF
		}
		return piece, nil
	case http1.UntilClose:
		piece := f.unread()
		f.r = f.w
		return piece, nil
	}
	return nil, io.EOF
}

// ended tells the end of content from its being cut short.
func (c *content) ended(err error) error {
	if errors.Is(err, io.EOF) && c.framing != http1.UntilClose {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skipEmptyLine skips one before a request: some clients send it behind a
// request's content (RFC 9112, section 2.2). Where only its first half is there
// it waits for the other.
func (f *inflow) skipEmptyLine(within time.Duration) error {
	if b := f.unread(); len(b) == 1 && b[0] == '\r' {
		if err := f.more(within); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(f.unread(), []byte("\r\n")) {
		f.r += 2
	}
	return nil
}
