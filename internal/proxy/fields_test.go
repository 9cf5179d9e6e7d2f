package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// told is an app that answers with all that it was told, trailers included.
func told(w http.ResponseWriter, q *http.Request) {
	if _, err := io.Copy(io.Discard, q.Body); err != nil {
		return
	}
	w.Header().Set("Trailer", "X-Kept, X-Hop, Y_Z")
	w.Header().Set("Connection", "x-hop")
	for name, values := range q.Header {
		fmt.Fprintf(w, "%s=%s\n", name, strings.Join(values, "|"))
	}
	for name, values := range q.Trailer {
		fmt.Fprintf(w, "trailer %s=%s\n", name, strings.Join(values, "|"))
	}
	w.Header().Set("X-Kept", "1")
	w.Header().Set("X-Hop", "2")
	w.Header().Set("Y_Z", "3")
}

// tells sends a request, and returns the answer with its trailers read.
func (r *rig) tells(request string) (answer *http.Response, content string) {
	r.t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(r.says(request))), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer, string(read)
}

const withTrailers = "POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close, x-hop\r\nTrailer: X-Kept, X-Hop, Y_Z, X-Real-Ip\r\n" +
	"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Kept: 1\r\nX-Hop: 2\r\nY_Z: 3\r\nX-Real-IP: 4\r\n\r\n"

// A trailer is a field: what may not be said before the content may not be said
// behind it.
func TestTrailersPassAsFieldsDo(t *testing.T) {
	r := newRig(t)
	r.serve(all(app(t, told)))
	answer, content := r.tells(withTrailers)
	if !strings.Contains(content, "trailer X-Kept=1\n") || strings.Contains(content, "trailer X-Hop=2") ||
		strings.Contains(content, "trailer Y_Z=3") || strings.Contains(content, "trailer X-Real-Ip=4") {
		t.Errorf("the app gets %q", content)
	}
	if got := answer.Trailer; got.Get("X-Kept") != "1" || got.Get("X-Hop") != "" || got.Get("Y_z") != "3" {
		t.Errorf("the client gets %q", got)
	}
}

func TestUnderscoresPassInFieldsAndTrailersWhereTheOperatorWantsThem(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.UnderscoresInHeaders = true })
	r.serve(all(app(t, told)))
	if _, content := r.tells(withTrailers); !strings.Contains(content, "trailer Y_z=3") {
		t.Errorf("the app gets %q", content)
	}
}

func TestWhatAClientSaysOfAnotherIsDropped(t *testing.T) {
	const says = "Forwarded: for=192.0.2.1\r\nX-Forwarded-Host: other.local\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /x\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n"
	for trusted, want := range map[string]bool{"127.0.0.0/8": true, "192.0.2.0/24": false} {
		r := newRig(t, func(o *proxy.Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix(trusted)} })
		r.serve(all(app(t, told)))
		_, content := r.tells("GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n" + says + "\r\n")
		for field := range strings.Lines(says) {
			name, value, _ := strings.Cut(strings.TrimSpace(field), ": ")
			if line := http.CanonicalHeaderKey(name) + "=" + value + "\n"; strings.Contains(content, line) != want {
				t.Errorf("with %s trusted, %q reaches the app: %t", trusted, name, !want)
			}
		}
	}
}

// Of a chain of proxies each may add a field of its own: the last is nearest, and
// the first may be the client's invention.
func TestAllThatATrustedProxySaysOfTheClientIsPassedOn(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n"
	for trusted, want := range map[string]string{
		"127.0.0.0/8":  "X-Forwarded-For=192.0.2.1, 192.0.2.2, 127.0.0.1\n",
		"192.0.2.0/24": "X-Forwarded-For=127.0.0.1\n",
	} {
		r := newRig(t, func(o *proxy.Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix(trusted)} })
		r.serve(all(app(t, told)))
		if _, content := r.tells(request); !strings.Contains(content, want) {
			t.Errorf("with %s trusted the app gets %q, want %q", trusted, content, want)
		}
	}
}
