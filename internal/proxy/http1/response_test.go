package http1_test

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// An answer that is accepted here must mean the same to others.
func FuzzResponsesMeanTheSameToNetHTTP(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200\r\n\r\n", "HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, toHead bool) {
		n, err := http1.HeadLength(data, 0)
		if err != nil || n == 0 {
			return
		}
		r := &http1.Response{}
		if r.Parse(data[:n], toHead) != nil {
			return
		}
		method := http.MethodGet
		if toHead {
			method = http.MethodHead
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses what is accepted here: %v", err)
		}
		if theirs.StatusCode != r.Status || theirs.ProtoMinor != r.Minor {
			t.Errorf("status %d, minor %d; net/http has %d, %d", r.Status, r.Minor, theirs.StatusCode, theirs.ProtoMinor)
		}
		if toHead || r.Status < 200 || r.Status == 204 || r.Status == 304 {
			return // no content follows, whatever is said of it
		}
		chunked := len(theirs.TransferEncoding) > 0
		if chunked != (r.Content.Framing == http1.Chunked) || !chunked && theirs.ContentLength != r.Length {
			t.Errorf("content %+v; net/http has %d, %q", r.Content, theirs.ContentLength, theirs.TransferEncoding)
		}
	})
}
