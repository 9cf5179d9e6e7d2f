package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/interlock-lb/interlock/internal/route"
)

// multiplexed is an app that speaks HTTP/2 and nothing else, without TLS. It
// counts the connections that are open.
func multiplexed(t *testing.T, handler http.HandlerFunc) (a *httptest.Server, open *atomic.Int64) {
	t.Helper()
	a, open = httptest.NewUnstartedServer(handler), new(atomic.Int64)
	a.Config.Protocols = new(http.Protocols)
	a.Config.Protocols.SetUnencryptedHTTP2(true)
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	a.Start()
	t.Cleanup(func() {
		a.CloseClientConnections() // which Close would wait for
		a.Close()
	})
	return a, open
}

// shared is a table whose apps speak HTTP/2.
func shared(apps ...netip.AddrPort) *route.Table {
	table := with(all(), apps...)
	table.Upstreams[0].HTTP2 = true
	return table
}

func addressOf(a *httptest.Server) netip.AddrPort {
	return netip.MustParseAddrPort(a.Listener.Addr().String())
}

func (r *rig) answers(method, want string) {
	r.t.Helper()
	got := r.says(fmt.Sprintf("%s / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", method))
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, want) {
		r.t.Fatalf("%q, want %q", got, want)
	}
}

func TestStreamsToADrainedEndpointFinishAndNoNewOneGoesThere(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, 1)
	var asked atomic.Int64
	old, open := multiplexed(t, func(w http.ResponseWriter, q *http.Request) {
		if asked.Add(1); q.URL.Path == "/long" {
			_, _ = io.WriteString(w, "begun, ")
			_ = http.NewResponseController(w).Flush()
			began <- struct{}{}
			<-release
		}
		_, _ = io.WriteString(w, "old")
	})
	next, _ := multiplexed(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "next") })
	r := newRig(t)
	r.serve(shared(addressOf(old)))
	r.answers("GET", "old")
	long := r.dial()
	if _, err := io.WriteString(long, getting("demo.local", "/long")); err != nil {
		t.Fatal(err)
	}
	<-began
	r.serve(shared(addressOf(next)))
	for range 10 {
		r.answers("GET", "next")
	}
	if n := open.Load(); n != 1 {
		t.Errorf("the stream that runs has %d connections, want the one that it shared", n)
	}
	close(release)
	if got, err := io.ReadAll(long); err != nil || !strings.Contains(string(got), "begun, ") || !strings.Contains(string(got), "old") || !strings.HasSuffix(string(got), "0\r\n\r\n") {
		t.Errorf("the stream that ran: %q, %v", got, err)
	}
	eventually(t, "the drained endpoint's connection is closed behind its last stream", func() bool { return open.Load() == 0 })
	if n := asked.Load(); n != 2 {
		t.Errorf("the drained endpoint was asked %d times, want 2", n)
	}
}

func TestASharedConnectionThatNobodyUsesIsClosedWithItsEndpointOrAfterAWhile(t *testing.T) {
	hello := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
	gone, openToGone := multiplexed(t, hello)
	stays, openToStays := multiplexed(t, hello)
	r := newRig(t)
	r.serve(shared(addressOf(gone)))
	r.answers("GET", "hello")
	r.serve(shared(addressOf(stays)))
	eventually(t, "it is closed with its endpoint", func() bool { return openToGone.Load() == 0 })
	r.answers("GET", "hello")
	r.answers("GET", "hello")
	if f := r.server.Figures(); f.UpstreamOpen != 1 || f.Dialled != 2 {
		t.Errorf("%d connections are open of %d, want one for both requests", f.UpstreamOpen, f.Dialled)
	}
	eventually(t, "it is closed when it has been idle", func() bool { return openToStays.Load() == 0 && r.server.Figures().UpstreamOpen == 0 })
}

// framed is an app that does what a test wants with each stream.
type framed struct {
	*h2.Framer
	number int64 // of the connection
}

func (f *framed) answer(stream uint32, text string) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = f.WriteHeaders(h2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = f.WriteData(stream, true, []byte(text))
}

// framedApp calls on for each stream whose request is whole, until that says that
// the connection is to be closed.
func framedApp(t *testing.T, on func(f *framed, stream uint32) (more bool)) netip.AddrPort {
	t.Helper()
	var connections atomic.Int64
	return listen(t, func(c net.Conn) {
		defer c.Close()
		f := &framed{h2.NewFramer(c, c), connections.Add(1)}
		if _, err := io.ReadFull(c, make([]byte, len(h2.ClientPreface))); err != nil || f.WriteSettings() != nil {
			return
		}
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch of := frame.(type) {
			case *h2.SettingsFrame:
				if !of.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *h2.HeadersFrame, *h2.DataFrame:
				if frame.Header().Flags.Has(h2.FlagDataEndStream) && !on(f, frame.Header().StreamID) {
					return
				}
			}
		}
	})
}

// GOAWAY names the last stream that an endpoint has done anything of, and
// REFUSED_STREAM is said of one that it has done nothing of (RFC 9113, section 8.7).
func TestWhatAnEndpointHasNotProcessedIsSentAgainAndNothingElse(t *testing.T) {
	for name, test := range map[string]struct {
		end func(f *framed, stream uint32)
		// again says which methods are sent once more.
		again map[string]bool
	}{
		"behind GOAWAY":           {func(f *framed, _ uint32) { _ = f.WriteGoAway(1, h2.ErrCodeNo, nil) }, map[string]bool{"GET": true, "POST": true}},
		"before GOAWAY":           {func(f *framed, stream uint32) { _ = f.WriteGoAway(stream, h2.ErrCodeNo, nil) }, map[string]bool{"GET": true}},
		"the connection is cut":   {func(*framed, uint32) {}, map[string]bool{"GET": true}},
		"the stream is refused":   {func(f *framed, stream uint32) { _ = f.WriteRSTStream(stream, h2.ErrCodeRefusedStream) }, map[string]bool{"GET": true, "POST": true}},
		"the stream is cancelled": {func(f *framed, stream uint32) { _ = f.WriteRSTStream(stream, h2.ErrCodeInternal) }, map[string]bool{"GET": true}},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				var asked atomic.Int64
				app := framedApp(t, func(f *framed, stream uint32) bool {
					if asked.Add(1); f.number > 1 || stream == 1 {
						f.answer(stream, "hello")
						return true
					}
					test.end(f, stream)
					return false
				})
				r := newRig(t)
				r.serve(shared(app))
				r.answers(method, "hello") // from now on the connection is known to work
				got := r.says(method + " / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
				if test.again[method] {
					if !strings.HasPrefix(got, "HTTP/1.1 200 ") || asked.Load() != 3 {
						t.Errorf("asked %d times, want 3: %q", asked.Load(), got)
					}
				} else if !strings.HasPrefix(got, "HTTP/1.1 502 ") || asked.Load() != 2 {
					t.Errorf("asked %d times, want 2: %q", asked.Load(), got)
				}
			})
		}
	}
}

// An endpoint that refuses every stream is given up for others.
func TestWhoeverRefusesAllStreamsIsLeftForOthers(t *testing.T) {
	var asked atomic.Int64
	refuses := framedApp(t, func(f *framed, stream uint32) bool {
		asked.Add(1)
		return f.WriteRSTStream(stream, h2.ErrCodeRefusedStream) == nil
	})
	r := newRig(t)
	r.serve(shared(refuses))
	got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
	if !strings.HasPrefix(got, "HTTP/1.1 502 ") || asked.Load() != 1 {
		t.Errorf("alone: asked %d times, want once: %q", asked.Load(), got)
	}
	other, _ := multiplexed(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	r.serve(shared(refuses, addressOf(other)))
	for range 4 {
		r.answers("POST", "other")
	}
}

func TestTrailersOfARequestReachAnAppThatSpeaksHTTP2(t *testing.T) {
	a, _ := multiplexed(t, func(w http.ResponseWriter, q *http.Request) {
		content, err := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s %v %v", content, q.Trailer, err)
	})
	r := newRig(t)
	table, credentials := certified(t, a, "a.test")
	table.Upstreams[0].HTTP2 = true
	table.Default = table.Hosts[0].Routes
	if err := r.server.Swap(table, credentials); err != nil {
		t.Fatal(err)
	}
	const want = "hello map[X-Sum:[5]] <nil>"
	got := r.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\nX-Unannounced: 1\r\n\r\n")
	if !strings.Contains(got, want) {
		t.Errorf("from HTTP/1.1: %q, want %q", got, want)
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.secureAddr)
	}
	// A reader of no known length has room for trailers behind it.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://a.test/", io.LimitReader(strings.NewReader("hello"), 5))
	if err != nil {
		t.Fatal(err)
	}
	request.Trailer = http.Header{"X-Sum": {"5"}}
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if content, err := io.ReadAll(response.Body); err != nil || string(content) != want {
		t.Errorf("from HTTP/2: %q, %v, want %q", content, err, want)
	}
}
