package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// asked is one request, as somebody has read it.
type asked struct {
	method, target, host, body string
	fields                     []string // "name: value", but for those of framing; sorted
}

func (a asked) equal(b asked) bool {
	return a.method == b.method && a.target == b.target && a.host == b.host && a.body == b.body && slices.Equal(a.fields, b.fields)
}

// framingFields are said in other ways by those who have read them.
var framingFields = map[string]bool{"content-length": true, "transfer-encoding": true, "host": true, "trailer": true, "cookie": true}

func fieldOf(name, value string) (text string, counts bool) {
	name = strings.ToLower(name)
	return name + ": " + value, !framingFields[name]
}

// askedOf is what net/http has read, but for the content.
func askedOf(q *http.Request) asked {
	a := asked{method: q.Method, target: q.RequestURI, host: q.Host}
	for name, values := range q.Header {
		for _, value := range values {
			if text, counts := fieldOf(name, value); counts {
				a.fields = append(a.fields, text)
			}
		}
	}
	slices.Sort(a.fields)
	return a
}

// readByNetHTTP reads one request with its content.
func readByNetHTTP(from *bufio.Reader) (a asked, expects bool, read func() (asked, error), err error) {
	q, err := http.ReadRequest(from)
	if err != nil {
		return asked{}, false, nil, err
	}
	a = askedOf(q)
	return a, q.Header.Get("Expect") != "", func() (asked, error) {
		body, err := io.ReadAll(q.Body)
		a.body = string(body)
		return a, err
	}, nil
}

// readByFastHTTP reads one request, and reports whether it is all there is.
func readByFastHTTP(raw []byte) (asked, error) {
	var q fasthttp.Request
	q.Header.DisableNormalizing()
	from := bufio.NewReader(bytes.NewReader(raw))
	if err := q.ReadLimitBody(from, 1<<20); err != nil {
		return asked{}, err
	}
	if q.MayContinue() {
		if err := q.ContinueReadBody(from, 1<<20); err != nil {
			return asked{}, err
		}
	}
	if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
		return asked{}, fmt.Errorf("%q is left over: %w", rest, err)
	}
	a := asked{method: string(q.Header.Method()), target: string(q.Header.RequestURI()), host: string(q.Header.Host()), body: string(q.Body())}
	for name, value := range q.Header.All() {
		if text, counts := fieldOf(string(name), string(value)); counts {
			a.fields = append(a.fields, text)
		}
	}
	slices.Sort(a.fields)
	return a, nil
}

// agreesWithFastHTTP fails where fasthttp reads something else of bytes than what
// was read of them first.
func agreesWithFastHTTP(raw []byte, first asked) error {
	second, err := readByFastHTTP(raw)
	switch {
	case err != nil:
		return fmt.Errorf("fasthttp reads of %q: %w", raw, err)
	case !second.equal(first):
		return fmt.Errorf("net/http reads %q, fasthttp %q of %q", first, second, raw)
	}
	return nil
}

// witness is an app that two parsers stand in for, and that notes what they read.
type witness struct {
	// agrees has the second read what net/http has read one request of.
	agrees func(raw []byte, first asked) error

	mu    sync.Mutex
	seen  []asked
	fault error
}

// serve answers each request once it is whole, so that nothing may follow it
// before.
func (w *witness) serve(c net.Conn) {
	defer c.Close()
	var raw bytes.Buffer
	from := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		_, expects, read, err := readByNetHTTP(from)
		if err == nil && expects {
			says(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		var first asked
		if err == nil {
			first, err = read()
		}
		if err != nil {
			// A request that is not whole ends with its connection, and is none.
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
				w.note(asked{}, fmt.Errorf("net/http reads of %q: %w", raw.Bytes(), err))
			}
			return
		}
		err = w.agrees(raw.Bytes(), first)
		if left := from.Buffered(); left > 0 && err == nil {
			err = fmt.Errorf("%d bytes follow a request that is not answered yet: %q", left, raw.Bytes())
		}
		w.note(first, err)
		raw.Reset()
		if err != nil || !says(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
			return
		}
	}
}

func (w *witness) note(a asked, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil {
		w.fault = err
	}
	if err == nil {
		w.seen = append(w.seen, a)
	}
}

// takes returns what was noted since it was called last.
func (w *witness) takes() ([]asked, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, fault := w.seen, w.fault
	w.seen, w.fault = nil, nil
	return seen, fault
}

// Whatever clients send, what goes on to an app is read alike by everybody: as
// many requests, with the same content, and nothing between them. The requests
// are those that the client meant, as a third reader has it.
func FuzzWhatAppsGetIsReadAlikeByAll(f *testing.F) { fuzzFraming(f, agreesWithFastHTTP) }

func fuzzFraming(f *testing.F, agrees func(raw []byte, first asked) error) {
	f.Helper()
	for _, seed := range framingSeeds {
		f.Add([]byte(seed))
	}
	app := &witness{agrees: agrees}
	address := serveWitness(f, app)
	f.Fuzz(func(t *testing.T, input []byte) {
		sendAndHangUp(t, address, input)
		seen, fault := app.takes()
		if fault != nil {
			t.Fatal(fault)
		}
		meant := bufio.NewReader(bytes.NewReader(input))
		for _, got := range seen {
			skipEmptyLine(meant)
			_, _, read, err := readByNetHTTP(meant)
			if err != nil {
				t.Fatalf("an app gets %q, which net/http does not find in what was sent: %v", got, err)
			}
			want, err := read()
			if err != nil || got.method != want.method || got.body != want.body || want.host != "" && !strings.EqualFold(got.host, want.host) {
				t.Fatalf("an app gets %q, net/http reads %q, %v", got, want, err)
			}
		}
	})
}

// skipEmptyLine skips one before a request, as RFC 9112, section 2.2, wants it and
// net/http does not.
func skipEmptyLine(from *bufio.Reader) {
	if next, err := from.Peek(2); err == nil && string(next) == "\r\n" {
		_, _ = from.Discard(2)
	}
}

var framingSeeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\nX_Y: c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
	"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.0\r\n\r\n",
	"GET http://a:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n",
	"GET /%2e%2e/a//b HTTP/1.1\r\nHost: a\r\nConnection: x-own, transfer-encoding\r\nX-Own: 1\r\n\r\n",
	"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n",
	"\r\nDELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n",
}

// serveWitness has a server hand on every host's requests to an app. Clients use
// a socket file: there are more connections than ports.
func serveWitness(f *testing.F, app *witness) (address string) {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	address = filepath.Join(f.TempDir(), "clients")
	clients, err := net.Listen("unix", address)
	if err != nil {
		f.Fatal(err)
	}
	running.Go(func() {
		for {
			c, err := behind.Accept()
			if err != nil {
				return
			}
			running.Go(func() { app.serve(c) })
		}
	})
	limits := proxy.DefaultLimits()
	limits.Shutdown = time.Second
	server := proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), Limits: limits})
	table := all()
	table.Default = table.Hosts[0].Routes
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: netip.MustParseAddrPort(behind.Addr().String())}}
	if err := server.Swap(table, nil); err != nil {
		f.Fatal(err)
	}
	running.Go(func() { _ = server.Run(ctx, proxy.Entrance{Listener: clients}) })
	f.Cleanup(func() {
		cancel()
		behind.Close()
		running.Wait()
	})
	return address
}

// sendAndHangUp sends bytes, says that these are all, and reads the answers.
func sendAndHangUp(t *testing.T, address string, input []byte) {
	t.Helper()
	c, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// It may stop to read, and end the connection, before it has all.
	_, _ = c.Write(input)
	_ = c.(*net.UnixConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%q is answered for ever", input)
	}
}
