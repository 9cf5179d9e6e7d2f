package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// sendStream writes the request of a stream as one of HTTP/1.1, which the
// exchange then reads as strictly as any other.
func sendStream(to net.Conn, r *http.Request) error {
	head := append(takeSmall()[:0], r.Method...)
	defer func() { giveBack(head) }()
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
	if _, err := to.Write(append(head, "\r\n"...)); err != nil {
		return err
	}
	switch {
	case r.ContentLength > 0:
		return copyCounted(to, r)
	case r.ContentLength < 0:
		return copyChunked(to, r)
	}
	return nil
}

func appendText(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func copyCounted(to net.Conn, r *http.Request) error {
	buf := takeLarge()
	defer giveBack(buf)
	n, err := io.CopyBuffer(onlyWriter{to}, r.Body, buf)
	if err == nil && n != r.ContentLength {
		err = errNotWhole
	}
	return err
}

func copyChunked(to net.Conn, r *http.Request) error {
	buf := takeLarge()
	defer giveBack(buf)
	chunks := httputil.NewChunkedWriter(to)
	if _, err := io.CopyBuffer(onlyWriter{chunks}, r.Body, buf); err != nil {
		return err
	}
	if err := chunks.Close(); err != nil {
		return err
	}
	var end []byte
	for name, values := range r.Trailer {
		for _, value := range values {
			end = appendText(end, name, value)
		}
	}
	_, err := to.Write(append(end, "\r\n"...))
	return err
}

// onlyWriter keeps io.CopyBuffer from ways of its own, with buffers of its own.
type onlyWriter struct{ io.Writer }

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, smallBuffer) }}

// answerStream gives a stream the answer of an exchange.
func answerStream(w http.ResponseWriter, from net.Conn, r *http.Request) error {
	in := readers.Get().(*bufio.Reader)
	in.Reset(from)
	defer func() {
		in.Reset(nil)
		readers.Put(in)
	}()
	for {
		answer, err := http.ReadResponse(in, r)
		if err != nil {
			return err
		}
		copyFields(w.Header(), answer.Header)
		if answer.StatusCode >= 200 {
			return passAnswer(w, answer, in)
		}
		w.WriteHeader(answer.StatusCode)
		clear(w.Header())
	}
}

// copyFields leaves out what HTTP/2 does not have.
func copyFields(to, from http.Header) {
	for name, values := range from {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		default:
			to[name] = values
		}
	}
}

func passAnswer(w http.ResponseWriter, answer *http.Response, in *bufio.Reader) error {
	defer answer.Body.Close()
	if _, said := w.Header()["Content-Type"]; !said {
		w.Header()["Content-Type"] = nil // net/http would guess one
	}
	w.WriteHeader(answer.StatusCode)
	if err := passContent(w, answer, in); err != nil {
		return err
	}
	for name, values := range answer.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
	return nil
}

// passContent passes content on as it comes: what waits for more is flushed.
func passContent(w http.ResponseWriter, answer *http.Response, in *bufio.Reader) error {
	buf := takeLarge()
	defer giveBack(buf)
	flusher := http.NewResponseController(w)
	for left := answer.ContentLength; ; {
		n, err := answer.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			left -= int64(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case in.Buffered() == 0 && left != 0:
			if err := flusher.Flush(); err != nil {
				return err
			}
		}
	}
}
