package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

var errMore = errors.New("the content is not whole")

// decode decodes chunked content that comes in pieces of some bytes.
func decode(data []byte, step int) (content, rest []byte, trailers []http1.Field, err error) {
	var c http1.Chunks
	var unread []byte
	for received := 0; ; {
		piece, n, done, err := c.Next(unread)
		content, unread = append(content, piece...), unread[n:]
		switch {
		case err != nil:
			return nil, nil, nil, err
		case done:
			return content, append(unread, data[received:]...), c.Trailers, nil
		case n > 0:
		case received == len(data):
			return nil, nil, nil, errMore
		default:
			next := min(received+step, len(data))
			unread = append(bytes.Clone(unread), data[received:next]...)
			received = next
		}
	}
}

func TestChunksAreDecodedHoweverTheyCome(t *testing.T) {
	const data = "5\r\nhello\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\nnext"
	for step := 1; step <= len(data); step++ {
		content, rest, trailers, err := decode([]byte(data), step)
		if err != nil || string(content) != "hello0123456789" || string(rest) != "next" || len(trailers) != 2 {
			t.Errorf("in pieces of %d: %q, %q, %q, %v", step, content, rest, trailers, err)
		}
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	for name, data := range map[string]string{
		"no size":                   "\r\nx\r\n0\r\n\r\n",
		"no digit":                  "g\r\n",
		"a sign":                    "+1\r\nx\r\n0\r\n\r\n",
		"a blank before the size":   " 1\r\nx\r\n0\r\n\r\n",
		"a blank behind the size":   "1 \r\nx\r\n0\r\n\r\n",
		"a prefix":                  "0x1\r\nx\r\n0\r\n\r\n",
		"a size that overflows":     "10000000000000001\r\nx\r\n0\r\n\r\n",
		"a line feed alone":         "1\nx\r\n0\r\n\r\n",
		"a NUL in an extension":     "1;\x00\r\nx\r\n0\r\n\r\n",
		"a return in an extension":  "1;a\rb\r\nx\r\n0\r\n\r\n",
		"a chunk that is longer":    "1\r\nxy\r\n0\r\n\r\n",
		"a chunk without an end":    "1\r\nx0\r\n\r\n",
		"an end of a line feed":     "1\r\nx\n0\r\n\r\n",
		"a malformed trailer":       "0\r\nA : b\r\n\r\n",
		"a trailer's bare feed":     "0\r\nA: b\n\r\n",
		"an extension too long":     "1;" + strings.Repeat("x", 300) + "\r\nx\r\n0\r\n\r\n",
		"nothing but extensions":    strings.Repeat("1;"+strings.Repeat("x", 250)+"\r\nx\r\n", 100) + "0\r\n\r\n",
		"a trailer section too big": "0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 100)+"\r\n", 100) + "\r\n",
	} {
		for _, step := range []int{1, len(data)} {
			_, _, _, err := decode([]byte(data), step)
			var malformed *http1.Malformed
			if !errors.As(err, &malformed) {
				t.Errorf("%s, in pieces of %d: %v", name, step, err)
			}
		}
	}
}

func TestContentThatIsEncodedIsDecodedAgain(t *testing.T) {
	b := http1.AppendChunk(nil, []byte("hello"))
	b = http1.AppendLastChunk(b, []http1.Field{{Name: []byte("A"), Value: []byte("b")}, {Name: []byte("Content-Length"), Value: []byte("1"), Known: http1.ContentLength}})
	content, rest, trailers, err := decode(b, len(b))
	if err != nil || string(content) != "hello" || len(rest) != 0 || len(trailers) != 1 {
		t.Errorf("%q: %q, %q, %q, %v", b, content, rest, trailers, err)
	}
}

// What is accepted here must be the same content to others.
func FuzzChunksMeanTheSameToNetHTTP(f *testing.F) {
	for _, seed := range []string{"0\r\n\r\n", "5\r\nhello\r\n0\r\nA: b\r\n\r\n", "a;x\r\n0123456789\r\n0\r\n\r\nrest", "1\nx\r\n0\r\n\r\n"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		content, _, _, err := decode(data, max(step, 1)%64+1)
		if err != nil {
			return
		}
		const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		theirs, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(data))))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(theirs.Body)
		if err != nil || !bytes.Equal(body, content) {
			t.Errorf("content %q; net/http has %q, %v", content, body, err)
		}
	})
}
