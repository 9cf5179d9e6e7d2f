package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	h2 "golang.org/x/net/http2"

	"github.com/interlock-lb/interlock/internal/probe"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// faults are what goes wrong with the connections of an entrance, once it does.
type faults struct{ reading, writing atomic.Bool }

type faultyEntrance struct {
	net.Listener
	faults *faults
}

func (f *faultyEntrance) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &faulty{c, f.faults}, nil
}

type faulty struct {
	net.Conn
	faults *faults
}

func (f *faulty) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.faults.reading.Load() {
		panic("a fault of reading")
	}
	return n, err
}

func (f *faulty) SetLinger(seconds int) error { return f.Conn.(*net.TCPConn).SetLinger(seconds) }

func (f *faulty) Write(b []byte) (int, error) {
	if f.faults.writing.Load() {
		panic("a fault of writing")
	}
	return f.Conn.Write(b)
}

// echoing is an app that says again what it hears, on websockets too. To /early it
// begins to answer as soon as content comes, and at /back it says it piece by piece.
func echoing(t *testing.T) netip.AddrPort {
	t.Helper()
	return listen(t, func(c net.Conn) {
		defer c.Close()
		reader := bufio.NewReader(c)
		for {
			q, err := http.ReadRequest(reader)
			switch {
			case err != nil:
				return
			case q.Header.Get("Upgrade") != "":
				says(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(c, reader)
				return
			case q.URL.Path == "/early":
				_, _ = q.Body.Read(make([]byte, 1))
				says(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nearly")
			case q.URL.Path == "/back":
				says(c, "HTTP/1.1 200 OK\r\n\r\n")
				_, _ = io.Copy(c, q.Body)
				return
			}
			body, err := io.ReadAll(q.Body)
			if err != nil || !says(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body) {
				return
			}
		}
	})
}

// endangered is a server that somebody has a websocket to, whom nothing must happen
// to, and that has entrances whose connections may be faulty.
type endangered struct {
	*rig
	bystander net.Conn
	faults    *faults
	faulty    *rig // the same server, by those entrances
}

func newEndangered(t *testing.T) *endangered {
	t.Helper()
	endpoint := route.Endpoint{Addr: echoing(t)} // which ends after the server
	r := newRig(t)
	table, credentials := certified(t, app(t, echo), "demo.local")
	table.Upstreams[0].Endpoints = []route.Endpoint{endpoint}
	table.Hosts[0].Routes[0].Websockets = []string{"/ws"}
	table.Hosts[0].Routes = append(table.Hosts[0].Routes, route.Route{PathPrefix: "/spoilt", Forward: to("app")})
	if err := r.server.Swap(table, credentials); err != nil {
		t.Fatal(err)
	}
	r.server.Spoil("demo.local", "/spoilt")
	plain, secure := entrance(t), entrance(t)
	e := &endangered{
		rig: r, bystander: r.dial(), faults: &faults{},
		faulty: &rig{t: t, server: r.server, addr: plain.Addr().String(), secureAddr: secure.Addr().String()},
	}
	for _, way := range []proxy.Entrance{
		{Listener: &faultyEntrance{plain, e.faults}},
		{Listener: &faultyEntrance{secure, e.faults}, TLS: true},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.server.Admit(ctx, way) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	hears(t, e.bystander, opening, "\r\n\r\n")
	return e
}

// hears says something, and waits until something else has come.
func hears(t *testing.T, c net.Conn, said, want string) {
	t.Helper()
	if _, err := io.WriteString(c, said); err != nil {
		t.Fatal(err)
	}
	for got, b := "", make([]byte, 4096); !strings.Contains(got, want); {
		n, err := c.Read(b)
		if got += string(b[:n]); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
	}
}

// mayEnd fails unless a connection comes to an end.
func mayEnd(t *testing.T, c io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection does not end")
	}
}

// unharmed fails unless nothing is left soon but what the bystander has.
func (e *endangered) unharmed(panics uint64) {
	e.t.Helper()
	e.faults.reading.Store(false)
	e.faults.writing.Store(false)
	hears(e.t, e.bystander, "still there", "still there")
	for _, r := range []*rig{e.rig, e.faulty} {
		if got := r.says(getting("demo.local", "/")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			e.t.Errorf("the next request is answered with %q", got)
		}
	}
	eventually(e.t, "nothing is left of it", func() bool {
		f := e.server.Figures()
		return f.Panics == panics && f.Open == 1 && f.UpstreamOpen-f.UpstreamIdle == 1 && e.server.Busy() == 1 && working(f) == 1
	})
	if f := e.server.Figures(); f.Services[0].Aside != 0 {
		e.t.Error("the app is set aside for what the proxy did")
	}
}

// working is how many requests apps work on.
func working(f proxy.Figures) (n int64) {
	for _, r := range f.Routes {
		n += r.Running
	}
	return n
}

const chunked = " HTTP/1.1\r\nHost: demo.local\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestAFaultOnAConnectionEndsNobodyElses(t *testing.T) {
	for name, test := range map[string]struct {
		begin            string
		reading, writing bool
		then             string
	}{
		"while it is idle":                       {"", true, false, "G"},
		"while a head comes":                     {"GET / HTTP/1.1\r\n", true, false, "Host: demo.local\r\n"},
		"while content comes":                    {"POST /" + chunked, true, false, "5\r\nhello\r\n"},
		"while an answer goes":                   {"GET / HTTP/1.1\r\n", false, true, "Host: demo.local\r\n\r\n"},
		"while an answer goes and content comes": {"POST /early" + chunked, false, true, "5\r\nhello\r\n"},
		"from a websocket":                       {opening, true, false, "hello"},
		"to a websocket":                         {opening, false, true, "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndangered(t)
			c := e.faulty.dial()
			switch {
			case test.begin == opening:
				hears(t, c, opening, "\r\n\r\n")
			case test.begin != "":
				if _, err := io.WriteString(c, test.begin); err != nil {
					t.Fatal(err)
				}
				eventually(t, "it is served", func() bool { return e.server.Busy() == 2 })
			}
			e.faults.reading.Store(test.reading)
			e.faults.writing.Store(test.writing)
			if _, err := io.WriteString(c, test.then); err != nil {
				t.Fatal(err)
			}
			mayEnd(t, c)
			e.unharmed(1)
		})
	}
}

func TestWhatCameOfARequestIsCountedThoughItFailsWhileMoreComes(t *testing.T) {
	e := newEndangered(t)
	c := e.faulty.dial()
	hears(t, c, "POST /back"+chunked, "\r\n\r\n")
	uploaded := make(chan struct{})
	go func() {
		defer close(uploaded)
		for says(c, "5\r\nhello\r\n") {
		}
	}()
	heard, err := io.CopyN(io.Discard, c, 100<<10)
	if err != nil {
		t.Fatalf("after %d bytes: %v", heard, err)
	}
	e.faults.writing.Store(true)
	mayEnd(t, c)
	<-uploaded
	e.unharmed(1)
	if got := figuresOf(e.server.Figures(), "demo.local", "app").Received; got < heard {
		t.Errorf("%d bytes are counted, of more than %d that have come", got, heard)
	}
}

func TestAFaultOnAConnectionOfHTTP2EndsNobodyElses(t *testing.T) {
	for name, test := range map[string]struct{ reading, writing bool }{"of reading": {reading: true}, "of writing": {writing: true}} {
		t.Run(name, func(t *testing.T) {
			e := newEndangered(t)
			c := e.faulty.frames("demo.local")
			get(t, c, 1, "demo.local")
			if err := until(c, func(f h2.Frame) bool { return ends(f, 1) }); err != nil {
				t.Fatal(err)
			}
			e.faults.reading.Store(test.reading)
			e.faults.writing.Store(test.writing)
			get(t, c, 3, "demo.local")
			if err := until(c, func(h2.Frame) bool { return false }); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection does not end")
			}
			e.unharmed(1)
		})
	}
}

func TestAFaultInAHandshakeEndsNobodyElsesConnection(t *testing.T) {
	e := newEndangered(t)
	e.faults.reading.Store(true)
	c, err := net.Dial("tcp", e.faulty.secureAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	says(c, "\x16") // without a word the end of the proxy's patience could come first
	mayEnd(t, c)
	e.unharmed(1)
}

// Whatever fails at a request that an app has been connected for.
func TestAFaultOfARouteEndsTheRequestsForItOnly(t *testing.T) {
	e := newEndangered(t)
	c := e.frames("demo.local")
	const requests = 5
	for i := range uint32(requests) {
		if got := e.says(getting("demo.local", "/spoilt")); got != "" {
			t.Errorf("the answer is %q", got)
		}
		stream := 4*i + 1
		getPath(t, c, stream, "demo.local", "/spoilt")
		getPath(t, c, stream+2, "demo.local", "/")
		var reset, answered bool
		if err := until(c, func(f h2.Frame) bool {
			_, is := f.(*h2.RSTStreamFrame)
			reset = reset || is && f.Header().StreamID == stream
			answered = answered || ends(f, stream+2)
			return reset && answered
		}); err != nil {
			t.Fatalf("a stream and its connection: %v", err)
		}
	}
	if err := c.WriteGoAway(0, h2.ErrCodeNo, nil); err != nil {
		t.Fatal(err)
	}
	e.unharmed(2 * requests)
}

// until reads frames up to one that is asked for.
func until(c *h2.Framer, is func(h2.Frame) bool) error {
	for {
		if f, err := c.ReadFrame(); err != nil || is(f) {
			return err
		}
	}
}

func ends(f h2.Frame, stream uint32) bool {
	return f.Header().StreamID == stream && f.Header().Flags.Has(h2.FlagDataEndStream)
}

func TestAnEndpointWhoseProbePanicsIsProbedAgain(t *testing.T) {
	var probes atomic.Int64
	r := newRig(t, func(o *proxy.Options) {
		o.Accepts = func(ctx context.Context, addr netip.AddrPort) bool {
			if probes.Add(1) == 1 {
				panic("a fault of a probe")
			}
			return probe.Accepts(ctx, addr)
		}
	})
	first := app(t, echo)
	r.serve(all(first))
	r.posts(2)
	r.serve(all(first, app(t, echo)))
	r.health(2, 0)
	if n := r.server.Figures().Panics; n != 1 || probes.Load() < 2 {
		t.Errorf("%d panics in %d probes", n, probes.Load())
	}
}
