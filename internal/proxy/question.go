package proxy

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// question is a connection in memory over which an exchange asks an endpoint that
// speaks HTTP/2: one request of HTTP/1.1 and its answer, so that all that holds
// for the one holds for the other.
type question struct {
	net.Conn
	cancel context.CancelFunc
	clock  *clock
	panics *panics
	scheme string
	// err is why there is no answer, or no whole one; set before the other end
	// is closed. It begins with what holds where nobody comes to set it.
	err error
}

// unbounded is for waits that the exchange, at the other end, has bounded.
const unbounded = 24 * time.Hour

func (q *question) Read(b []byte) (int, error) {
	n, err := q.Conn.Read(b)
	if isEOF(err) && q.err != nil {
		err = q.err
	}
	return n, err
}

// Close ends the request, whatever has become of it.
func (q *question) Close() error {
	q.cancel()
	return q.Conn.Close()
}

// run answers, over a connection that it has a share of.
func (q *question) run(ctx context.Context, far net.Conn, e *endpoint, m *multiplexed) {
	defer q.cancel()
	defer func() { e.leave(m, q.clock.about()) }()
	defer q.panics.contain(func() { e.retire(m) })
	q.answer(ctx, far, m)
}

// answer sends the request that arrives at the far end, and writes its answer there.
func (q *question) answer(ctx context.Context, far net.Conn, m *multiplexed) {
	defer far.Close()
	request, err := q.read(ctx, far)
	if err != nil {
		q.err = err
		return
	}
	answer, err := m.RoundTrip(request)
	if err != nil {
		q.err = err
		return
	}
	defer answer.Body.Close()
	q.err = writeAnswer(far, answer, request.Method)
}

// read understands what the exchange asks. It has checked it, and said how its
// content is framed.
func (q *question) read(ctx context.Context, far net.Conn) (*http.Request, error) {
	in := &inflow{}
	in.use(&link{Conn: far, socket: far, clock: q.clock}, takeSmall(), 0)
	n, err := in.head(unbounded)
	if err != nil {
		return nil, err
	}
	var asked http1.Request
	err = asked.Parse(in.unread()[:n])
	in.r += n
	in.base = in.r
	if err != nil {
		return nil, err
	}
	request := requestOf(&asked, q.scheme)
	if asked.Content.Framing == http1.NoContent {
		in.drop()
		return request.WithContext(ctx), nil
	}
	body := &contentReader{in: in, panics: q.panics, trailers: request.Trailer}
	body.content.begin(in, asked.Content, unbounded)
	request.Body = body
	return request.WithContext(ctx), nil
}

// requestOf makes a request of what an exchange asks. The target goes on byte for
// byte, and behind the authority, since one of two slashes would be taken for one.
func requestOf(asked *http1.Request, scheme string) *http.Request {
	authority := string(asked.Authority)
	request := &http.Request{
		Method: string(asked.Method), Host: authority, Header: make(http.Header, len(asked.Fields)),
		URL:           &url.URL{Scheme: scheme, Host: authority, Opaque: "//" + authority + string(asked.Target.Raw)},
		ContentLength: asked.Content.Length, Body: http.NoBody,
	}
	if asked.Content.Framing == http1.Chunked {
		request.ContentLength = -1
	}
	request.Header["User-Agent"] = nil // else there would be one
	for i := range asked.Fields {
		switch f := &asked.Fields[i]; f.Known {
		case http1.Host, http1.ContentLength, http1.TransferEncoding, http1.Connection:
		case http1.Trailer:
			request.Trailer = announced(request.Trailer, f.Value)
		default:
			name := http.CanonicalHeaderKey(string(f.Name))
			request.Header[name] = append(request.Header[name], string(f.Value))
		}
	}
	return request
}

// announced adds the trailers that a field announces, but for those that must not
// be any.
func announced(to http.Header, list []byte) http.Header {
	if to == nil {
		to = http.Header{}
	}
	for name := range bytes.SplitSeq(list, []byte{','}) {
		switch name := http.CanonicalHeaderKey(string(bytes.TrimSpace(name))); name {
		case "", "Transfer-Encoding", "Trailer", "Content-Length":
		default:
			to[name] = nil
		}
	}
	return to
}

// contentReader reads the content of a request. Its buffer is left to the garbage
// collector: who reads may do so until after the answer.
type contentReader struct {
	in       *inflow
	panics   *panics
	content  content
	piece    []byte
	trailers http.Header // those announced
}

// Read is called by a goroutine of x/net/http2.
func (c *contentReader) Read(b []byte) (n int, err error) {
	defer c.panics.contain(func() { n, err = 0, errPanicked })
	for len(c.piece) == 0 {
		if c.piece, err = c.content.next(true); isEOF(err) {
			c.readTrailers()
		}
		if err != nil {
			return 0, err
		}
	}
	n = copy(b, c.piece)
	c.piece = c.piece[n:]
	return n, nil
}

func (c *contentReader) readTrailers() {
	for _, f := range c.content.chunks.Trailers {
		name := http.CanonicalHeaderKey(string(f.Name))
		if _, said := c.trailers[name]; said && f.Known == http1.Other {
			c.trailers[name] = append(c.trailers[name], string(f.Value))
		}
	}
}

// Close does nothing: the exchange ends what it began.
func (c *contentReader) Close() error { return nil }

// writeAnswer writes an answer as one of HTTP/1.1, the last of its connection.
func writeAnswer(to net.Conn, answer *http.Response, method string) error {
	// What ends with its head has its trailers there: nothing may follow.
	counted := answer.ContentLength == 0 || answer.ContentLength > 0 && len(answer.Trailer) == 0 && !isGRPC(answer.Header)
	head := statusLine(takeSmall()[:0], answer.StatusCode, http.StatusText(answer.StatusCode))
	defer func() { giveBack(head) }()
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		switch name {
		case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Trailer", "Transfer-Encoding", "Upgrade":
			continue
		}
		for _, value := range answer.Header[name] {
			head = appendText(head, name, value)
		}
	}
	if len(answer.Trailer) > 0 {
		head = appendText(head, "Trailer", strings.Join(slices.Sorted(maps.Keys(answer.Trailer)), ", "))
	}
	none := method == http.MethodHead || answer.StatusCode == http.StatusNoContent || answer.StatusCode == http.StatusNotModified
	switch {
	case counted || none && answer.ContentLength >= 0:
		head = http1.AppendLength(head, answer.ContentLength)
	case !none:
		head = http1.AppendContent(head, http1.Content{Framing: http1.Chunked})
	}
	if _, err := to.Write(append(head, "Connection: close\r\n\r\n"...)); err != nil || none {
		return err
	}
	return writeContent(to, answer, counted)
}

// isGRPC reports whether trailers are to be expected that nobody has announced.
func isGRPC(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "application/grpc")
}

// writeContent writes content as it comes, and the trailers behind it.
func writeContent(to net.Conn, answer *http.Response, counted bool) error {
	buf, chunk := takeLarge(), takeLarge()
	defer func() { giveBack(buf); giveBack(chunk) }()
	for {
		n, err := answer.Body.Read(buf[:largeBuffer-http1.ChunkOverhead])
		if n > 0 {
			piece := buf[:n]
			if !counted {
				piece = http1.AppendChunk(chunk[:0], piece)
			}
			if _, err := to.Write(piece); err != nil {
				return err
			}
		}
		switch {
		case isEOF(err) && counted:
			return nil
		case isEOF(err):
			_, err = to.Write(appendTrailers(chunk[:0], answer.Trailer))
			return err
		case err != nil:
			return err
		}
	}
}

// appendTrailers ends content in chunks.
func appendTrailers(dst []byte, trailers http.Header) []byte {
	dst = append(dst, "0\r\n"...)
	for _, name := range slices.Sorted(maps.Keys(trailers)) {
		for _, value := range trailers[name] {
			dst = appendText(dst, name, value)
		}
	}
	return append(dst, "\r\n"...)
}
