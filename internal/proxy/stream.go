package proxy

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// stream is a stream of HTTP/2 as a connection: the exchange reads the request of
// the stream from it as one of HTTP/1.1, as strictly as any other, and writes the
// answer to it, which goes on as it comes. Nothing is between the two: reading
// reads the stream's content, and writing writes it.
type stream struct {
	conn    conn // what the exchange is given
	request *http.Request
	w       http.ResponseWriter
	control http.ResponseController

	framed []byte // of the request, and not read yet
	ended  bool   // all of the request is framed or read

	answer   http1.Response
	fields   headerMap
	began    bool // the head of the answer has gone
	whole    bool // and all that follows it
	left     int64
	chunks   http1.Chunks
	leftover []byte // the beginning of a chunk's framing

	reading, writing allowance
}

var errNoAnswer = errors.New("what was to be sent is no answer")

func newStream() *stream {
	s := new(stream)
	s.reading.cut = func() {
		defer s.conn.server.panics.contain()
		s.request.Body.Close()
	}
	s.writing.cut = func() {
		defer s.conn.server.panics.contain()
		_ = s.control.SetWriteDeadline(time.Unix(1, 0))
	}
	return s
}

// begin makes it a stream of a client's connection. It needs little stack, as
// net/http's goroutine has not more.
func (s *stream) begin(w http.ResponseWriter, r *http.Request, owner *conn) {
	c := &s.conn
	*c = conn{}
	c.Conn, c.socket, c.clock, c.server = s, s, owner.clock, owner.server
	c.proto, c.name, c.version, c.number = owner.proto, owner.name, 2, owner.number
	c.tlsVersion, c.cipher = owner.tlsVersion, owner.cipher
	c.remote, c.address, c.trusted = owner.remote, owner.address, owner.trusted
	s.w, s.request, s.control = w, r, *http.NewResponseController(w)
	s.framed, s.ended, s.leftover = nil, false, nil
	s.began, s.whole, s.left = false, false, 0
	s.chunks.Reset()
	s.reading.begin()
	s.writing.begin()
}

// serve has an exchange serve the request.
func (s *stream) serve() {
	c := &s.conn
	c.buf, c.received = s.head()
	c.got = int64(c.received)
	c.exchange()
}

// head is the head of the request, in a buffer.
func (s *stream) head() (buf []byte, received int) {
	r := s.request
	small := takeSmall()
	head := append(small[:0], r.Method...)
	head = append(head, ' ')
	head = append(head, r.RequestURI...)
	head = append(head, " HTTP/1.1\r\n"...)
	if r.Host != "" {
		head = appendText(head, "Host", r.Host)
	}
	for name, values := range r.Header {
		if name == "Content-Length" || name == "Expect" || name == "Host" {
			continue
		}
		for _, value := range values {
			head = appendText(head, name, value)
		}
	}
	switch {
	case r.ContentLength > 0 || r.ContentLength == 0 && r.Header["Content-Length"] != nil:
		head = http1.AppendLength(head, r.ContentLength)
	case r.ContentLength < 0:
		head = http1.AppendContent(head, http1.Content{Framing: http1.Chunked})
	}
	if len(r.Trailer) > 0 {
		head = appendText(head, "Trailer", strings.Join(slices.Sorted(maps.Keys(r.Trailer)), ", "))
	}
	s.ended = r.ContentLength == 0
	head = append(head, "\r\n"...)
	if cap(head) == smallBuffer {
		return small, len(head)
	}
	giveBack(small)
	large := takeLarge()
	return large, copy(large, head)
}

func appendText(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// Read reads the content of the request, in chunks unless its length is known.
func (s *stream) Read(b []byte) (int, error) {
	for len(s.framed) == 0 {
		switch {
		case s.ended:
			return 0, io.EOF
		case s.request.ContentLength > 0:
			return s.readBody(b)
		}
		if n, err := s.readChunk(b); n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(b, s.framed)
	s.framed = s.framed[n:]
	return n, nil
}

// The framing of a chunk has a size of as many digits as any needs.
const (
	sizeLine   = len("00000000\r\n")
	leastChunk = sizeLine + 64 + len("\r\n")
)

// readChunk reads the next content into b, framed; or into framed, where b is too
// small, or it was the last.
func (s *stream) readChunk(b []byte) (int, error) {
	room := b
	if len(b) < leastChunk {
		room = make([]byte, leastChunk)
	}
	n, err := s.readBody(room[sizeLine : len(room)-len("\r\n")])
	var chunk []byte
	if n > 0 {
		copy(room, "00000000\r\n")
		digits := strconv.AppendUint(room[len(room):], uint64(n), 16)
		copy(room[sizeLine-len("\r\n")-len(digits):], digits)
		copy(room[sizeLine+n:], "\r\n")
		chunk = room[:sizeLine+n+len("\r\n")]
	}
	if isEOF(err) {
		s.ended = true
		s.framed = appendTrailers(nil, s.request.Trailer)
		err = nil
	}
	if len(b) < leastChunk {
		s.framed = append(chunk, s.framed...)
		return 0, err
	}
	return len(chunk), err
}

func (s *stream) readBody(b []byte) (int, error) {
	if err := s.reading.enter(); err != nil {
		return 0, err
	}
	n, err := s.request.Body.Read(b)
	return n, s.reading.leave(err)
}

// Write sends what the exchange writes: whole heads, and content as it comes. It
// goes out at once, but for the end, which does when the stream is left.
func (s *stream) Write(b []byte) (int, error) {
	if err := s.writing.enter(); err != nil {
		return 0, err
	}
	if err := s.writing.leave(s.write(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *stream) write(b []byte) error {
	for len(b) > 0 && !s.began {
		n, err := s.writeHead(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if err := s.writeContent(b); err != nil || s.whole {
		return err
	}
	return s.control.Flush()
}

// writeHead sends the head at the start of b, and returns how long it is.
func (s *stream) writeHead(b []byte) (int, error) {
	n, err := http1.HeadLength(b, 0)
	if err == nil && n == 0 {
		err = errNoAnswer
	}
	if err == nil {
		err = s.answer.Parse(b[:n], s.request.Method == http.MethodHead)
	}
	if err != nil {
		return 0, err
	}
	header := s.w.Header()
	s.fields.begin()
	for i := range s.answer.Fields {
		if f := &s.answer.Fields[i]; f.Known == http1.ContentLength || !s.answer.ForOneHop(f) {
			s.fields.add(f)
		}
	}
	s.fields.write(header)
	if s.answer.Status < http.StatusOK {
		s.w.WriteHeader(s.answer.Status)
		clear(header)
		return n, nil
	}
	if _, said := header["Content-Type"]; !said {
		header["Content-Type"] = nil // net/http would guess one
	}
	if s.conn.server.stopped.Load() {
		header["Connection"] = []string{"close"} // which net/http says with GOAWAY
	}
	s.w.WriteHeader(s.answer.Status)
	s.began, s.left = true, s.answer.Content.Length
	s.whole = s.answer.Content.Framing == http1.NoContent
	return n, nil
}

func (s *stream) writeContent(b []byte) error {
	switch {
	case len(b) == 0:
		return nil
	case s.whole:
		return errNoAnswer
	case s.answer.Content.Framing == http1.Chunked:
		return s.writeChunks(b)
	}
	_, err := s.w.Write(b)
	s.left -= int64(len(b))
	s.whole = s.left == 0
	return err
}

func (s *stream) writeChunks(b []byte) error {
	if len(s.leftover) > 0 {
		b = append(s.leftover, b...)
	}
	for {
		piece, n, done, err := s.chunks.Next(b)
		b = b[n:]
		if err == nil && len(piece) > 0 {
			_, err = s.w.Write(piece)
		}
		switch {
		case err != nil:
			return err
		case done:
			s.whole = true
			s.writeTrailers()
			return nil
		case n == 0:
			s.leftover = bytes.Clone(b)
			return nil
		}
	}
}

func (s *stream) writeTrailers() {
	header := s.w.Header()
	for i := range s.chunks.Trailers {
		f := &s.chunks.Trailers[i]
		name := http.TrailerPrefix + http.CanonicalHeaderKey(string(f.Name))
		header[name] = append(header[name], string(f.Value))
	}
}

// finish ends what deadlines may do, and reports whether all of the answer was
// written. Nothing may follow. The last of it net/http sends when the stream is
// left, and has until then what a client may take for anything.
func (s *stream) finish() bool {
	s.reading.end()
	s.writing.end()
	if s.whole && s.answer.Content.Framing != http1.NoContent {
		_ = s.control.SetWriteDeadline(time.Now().Add(s.conn.server.options().Limits.Send))
	}
	s.w, s.request, s.control = nil, nil, http.ResponseController{}
	return s.whole
}

// Close does nothing: net/http closes the stream by what finish says.
func (s *stream) Close() error { return nil }

// SetReadDeadline is net.Conn's.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.reading.move(t)
	return nil
}

// SetWriteDeadline is net.Conn's.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.writing.move(t)
	return nil
}

// SetDeadline is net.Conn's.
func (s *stream) SetDeadline(t time.Time) error {
	s.reading.move(t)
	s.writing.move(t)
	return nil
}

// LocalAddr is there for net.Conn's sake.
func (s *stream) LocalAddr() net.Addr { return nil }

// RemoteAddr is there for net.Conn's sake.
func (s *stream) RemoteAddr() net.Addr { return nil }
