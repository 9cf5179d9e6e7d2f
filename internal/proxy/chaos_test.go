package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// chaos is an app that does what apps should not. What it says in an answer's
// content is only ever the target of the request that it answers.
func chaos(c net.Conn) {
	defer c.Close()
	reader := bufio.NewReader(c)
	for {
		q, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		name := q.RequestURI
		moods := []func() bool{
			func() bool { return says(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(name), name) },
			func() bool {
				return says(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(name), name)
			},
			func() bool { return says(c, "HTTP/1.1 200 OK\r\n\r\n%s", name) && false },
			func() bool {
				return says(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(name)) && drips(c, name)
			},
			// An answer too many, which is nobody's.
			func() bool {
				return says(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnobody", len(name), name)
			},
			func() bool { return says(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n%s", name) && false },
			func() bool {
				return says(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n%s", name)
			},
			func() bool { return says(c, "HTTP/1.1 200 OK\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20)) && false },
			func() bool {
				return says(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n%s", name) && false
			},
			func() bool {
				return says(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(name), name)
			},
			func() bool {
				return says(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n%s", name) && false
			},
			func() bool { return says(c, "HTTP") && false },
			func() bool { return false },
			func() bool { _ = c.(*net.TCPConn).SetLinger(0); return false },
			func() bool { _ = c.(*net.TCPConn).CloseWrite(); return true },
		}
		early := rand.IntN(2) == 0
		if !early {
			if _, err := io.Copy(io.Discard, q.Body); err != nil {
				return
			}
		}
		if !moods[rand.IntN(len(moods))]() || early {
			return
		}
	}
}

func says(c net.Conn, format string, args ...any) bool {
	_, err := fmt.Fprintf(c, format, args...)
	return err == nil
}

// drips sends a text byte by byte.
func drips(c net.Conn, text string) bool {
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// listen serves connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		served.Wait()
	})
	served.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() { serve(c) })
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}

// ask sends one request of one of several shapes; content is what came back.
func ask(transport *http.Transport, addr, name string) (content string, status int, err error) {
	method, body := http.MethodGet, io.Reader(nil)
	switch rand.IntN(4) {
	case 0:
		method, body = http.MethodPost, strings.NewReader("short")
	case 1:
		method, body = http.MethodPut, strings.NewReader(strings.Repeat("x", 200_000))
	case 2:
		method, body = http.MethodPost, io.LimitReader(strings.NewReader(strings.Repeat("y", 50_000)), 1<<20)
	}
	request, err := http.NewRequest(method, "http://"+addr+name, body)
	if err != nil {
		return "", 0, err
	}
	request.Host = "demo.local"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	return string(all), response.StatusCode, err
}

func TestWhateverAppsDoNothingIsLeftOver(t *testing.T) {
	before := openFiles(t)
	t.Run("nobody gets another's answer", nobodyGetsAnothersAnswer)
	for deadline := time.Now().Add(patience); openFiles(t) > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d files and sockets are open, %d were before", openFiles(t), before)
		}
	}
}

// nobodyGetsAnothersAnswer has clients ask apps in chaos, until all is at rest.
func nobodyGetsAnothersAnswer(t *testing.T) {
	first, second := listen(t, chaos), listen(t, chaos)
	r := newRig(t, func(o *proxy.Options) { o.Limits.Answer = 2 * time.Second })
	table := all()
	none := 0
	table.Upstreams[0].MaxFails = &none
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: first}, {Addr: second}}
	r.serve(table)
	var running sync.WaitGroup
	var mu sync.Mutex
	whole := 0
	for client := range 16 {
		running.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for n := range 60 {
				name := fmt.Sprintf("/client-%d/request-%d", client, n)
				content, status, err := ask(transport, r.addr, name)
				if err != nil || status != http.StatusOK {
					continue // the app's fault, and said so
				}
				if content != name {
					t.Errorf("%s was answered %.100q", name, content)
				}
				mu.Lock()
				whole++
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if whole < 50 {
		t.Errorf("only %d requests were answered at all", whole)
	}
	for deadline := time.Now().Add(patience); r.server.Busy() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests still hold buffers", r.server.Busy())
		}
	}
}

func TestWhatAnAppSaysUnaskedIsNobodysAnswer(t *testing.T) {
	said := make(chan struct{}, 2)
	app := listen(t, func(c net.Conn) {
		defer c.Close()
		reader := bufio.NewReader(c)
		for {
			q, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			answered := says(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(q.RequestURI), q.RequestURI)
			// The proxy has taken the answer, and keeps the connection.
			time.Sleep(50 * time.Millisecond)
			if !answered || !says(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnobody") {
				return
			}
			said <- struct{}{}
		}
	})
	r := newRig(t)
	table := all()
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: app}}
	r.serve(table)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, name := range []string{"/first", "/second"} {
		request, err := http.NewRequest(http.MethodGet, "http://"+r.addr+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "demo.local"
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(content) != name {
			t.Errorf("%s was answered %q, %v", name, content, err)
		}
		<-said
	}
}
