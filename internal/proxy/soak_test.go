package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

var soakFor = flag.Duration("soak", 30*time.Second, "how long the proxy is soaked; samples are taken 60 times")

const (
	soakWebsockets = 500
	soakClients    = 16
	soakHosts      = 500 // that come and go
)

// soak is traffic through a proxy whose tables change all the while.
type soak struct {
	rig      *rig
	apps     []*httptest.Server
	requests atomic.Int64
	messages atomic.Int64
	swaps    atomic.Int64
}

// sample is what the process, apps and clients included, holds at a time.
type sample struct {
	live       uint64 // bytes of the heap that are in use after a collection
	resident   uint64 // bytes
	goroutines int
	open       int // files and sockets
}

func TestNothingGrowsBesideWebsocketsAndChurn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes half a minute")
	}
	s := &soak{rig: newRig(t, func(o *proxy.Options) { o.AccessLog = io.Discard })}
	for range 6 {
		s.apps = append(s.apps, app(t, echoes))
	}
	s.rig.serve(s.table(0))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	for i := range soakWebsockets {
		c := s.openWebsocket(t)
		running.Go(func() { s.talk(ctx, t, i, c) })
	}
	for i := range soakClients {
		running.Go(func() { s.request(ctx, t, i) })
	}
	running.Go(func() { s.churn(ctx) })
	samples := s.watch(t, *soakFor)
	stop()
	running.Wait()
	judge(t, samples)
	if s.requests.Load() < 100 || s.messages.Load() < soakWebsockets || s.swaps.Load() < 10 {
		t.Errorf("hardly anything went on: %d requests, %d messages, %d tables", s.requests.Load(), s.messages.Load(), s.swaps.Load())
	}
}

// echoes answers requests, and talks back after an upgrade.
func echoes(w http.ResponseWriter, q *http.Request) {
	if q.Header.Get("Upgrade") == "" {
		echo(w, q)
		return
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	if says(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n") {
		_, _ = io.Copy(c, buffered)
	}
}

// table is the n-th: by turns an app is missing, and other hosts are there.
func (s *soak) table(n int) *route.Table {
	left := slices.Delete(slices.Clone(s.apps), n%len(s.apps), n%len(s.apps)+1)
	table := all(left...)
	if n%4 == 0 {
		for i := range soakHosts {
			table.Hosts = append(table.Hosts, route.VirtualHost{Name: fmt.Sprintf("h%d-%d.local", n, i), Routes: table.Hosts[0].Routes})
		}
	}
	return table
}

func (s *soak) churn(ctx context.Context) {
	for n := 1; pause(ctx, 100*time.Millisecond); n++ {
		s.rig.serve(s.table(n))
		s.swaps.Add(1)
	}
}

// pause reports whether there is more to do after it.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *soak) openWebsocket(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.rig.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	says(c, "GET /ws HTTP/1.1\r\nHost: demo.local\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<10), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", response, err)
	}
	return c
}

// talk sends a message now and then, and wants it back.
func (s *soak) talk(ctx context.Context, t *testing.T, i int, c net.Conn) {
	for n := 0; pause(ctx, time.Second); n++ {
		message := fmt.Sprintf("websocket %d says %d", i, n)
		back := make([]byte, len(message))
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil || !says(c, "%s", message) {
			t.Errorf("%q is lost: %v", message, err)
			return
		}
		if _, err := io.ReadFull(c, back); err != nil || string(back) != message {
			t.Errorf("%q came back as %q, %v", message, back, err)
			return
		}
		s.messages.Add(1)
	}
}

// request posts over a connection that is kept, and now and then over a new one.
func (s *soak) request(ctx context.Context, t *testing.T, i int) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for n := 0; pause(ctx, 40*time.Millisecond); n++ {
		content := fmt.Sprintf("client %d, request %d %s", i, n, strings.Repeat("x", n*997%20_000))
		if err := post(context.WithoutCancel(ctx), transport, s.rig.addr, content); err != nil {
			t.Errorf("lost: %.200v", err)
			return
		}
		s.requests.Add(1)
		if n%50 == 0 {
			transport.CloseIdleConnections()
		}
	}
}

func (s *soak) watch(t *testing.T, whole time.Duration) []sample {
	t.Helper()
	const times = 60
	var samples []sample
	for n := 1; n <= times && !t.Failed() && pause(t.Context(), whole/times); n++ {
		now := takeSample(t)
		samples = append(samples, now)
		t.Logf("%8s  %9d requests  %9d messages  %6d tables  live %6.1f MB  resident %6.1f MB  %d goroutines  %d open files", whole*time.Duration(n)/times,
			s.requests.Load(), s.messages.Load(), s.swaps.Load(), megabytes(now.live), megabytes(now.resident), now.goroutines, now.open)
	}
	return samples
}

func megabytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

func takeSample(t *testing.T) sample {
	t.Helper()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s := sample{live: memory.HeapAlloc, goroutines: runtime.NumGoroutine(), open: openFiles(t)}
	if said, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size uint64
		if _, err := fmt.Sscan(string(said), &size, &s.resident); err != nil {
			t.Fatal(err)
		}
		s.resident *= uint64(os.Getpagesize())
	}
	return s
}

// openFiles is how many files and sockets this process has open; 0 where the
// system does not tell.
func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return len(files)
}

// judge compares the last third with the second: in the first, pools fill.
func judge(t *testing.T, samples []sample) {
	t.Helper()
	third := len(samples) / 3
	if third == 0 {
		t.Fatal("no samples were taken")
	}
	before, after := samples[third:2*third], samples[2*third:]
	for what, of := range map[string]func(sample) uint64{
		"live heap":  func(s sample) uint64 { return s.live },
		"goroutines": func(s sample) uint64 { return uint64(s.goroutines) },
		"open files": func(s sample) uint64 { return uint64(s.open) },
	} {
		if was, is := median(before, of), median(after, of); is > was+was/10 {
			t.Errorf("%s: %d in the second third, %d in the last", what, was, is)
		}
	}
}

func median(samples []sample, of func(sample) uint64) uint64 {
	var all []uint64
	for _, s := range samples {
		all = append(all, of(s))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
