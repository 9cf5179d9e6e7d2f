package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// Keep-alive POSTs are what a reload loses: they may not be repeated.
func TestNothingIsLostWhileTablesAreSwapped(t *testing.T) {
	r := newRig(t)
	apps := make([]*httptest.Server, 6)
	for i := range apps {
		apps[i] = app(t, echo)
	}
	r.serve(all(apps...))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const clients, requests = 16, 60
	var lost atomic.Int64
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for n := range requests {
				if err := post(ctx, transport, r.addr, fmt.Sprintf("client %d, request %d", i, n)); err != nil {
					lost.Add(1)
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	swaps := 0
	for ; ; swaps++ {
		select {
		case <-done:
			if t.Logf("%d swaps", swaps); swaps < 10 || lost.Load() > 0 {
				t.Errorf("%d clients lost a request in %d swaps", lost.Load(), swaps)
			}
			return
		default:
		}
		// By turns an endpoint less, and another table altogether.
		table := all(apps[swaps%len(apps) : swaps%len(apps)+1]...)
		if swaps%2 == 0 {
			table = all(append(apps[:swaps%len(apps):swaps%len(apps)], apps[swaps%len(apps)+1:]...)...)
			table.Hosts = append(table.Hosts, route.VirtualHost{Name: fmt.Sprintf("h%d.local", swaps), Routes: table.Hosts[0].Routes})
		}
		r.serve(table)
		time.Sleep(time.Millisecond)
	}
}

// post sends content and wants it back.
func post(ctx context.Context, transport *http.Transport, addr, content string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", io.NopCloser(strings.NewReader(content)))
	if err != nil {
		return err
	}
	request.Host, request.ContentLength = "demo.local", int64(len(content))
	// A POST without GetBody is never sent twice by net/http.
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if want := "POST / " + content; err != nil || string(got) != want {
		return fmt.Errorf("%d %q, %w; want %q", response.StatusCode, got, err, want)
	}
	return nil
}

func TestIdleConnectionsToADrainedEndpointAreClosedAtOnce(t *testing.T) {
	r := newRig(t)
	closed := make(chan struct{})
	var once sync.Once
	gone := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	gone.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			once.Do(func() { close(closed) })
		}
	}
	gone.Start()
	t.Cleanup(gone.Close)
	r.serve(all(gone))
	if got := r.says("GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Fatalf("%q", got)
	}
	r.serve(all(app(t, echo)))
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the connection is still open")
	}
}

func TestASwapLeavesPoolsAsTheyAreThatHaveNotChanged(t *testing.T) {
	r := newRig(t)
	table := with(all(app(t, echo)), listen(t, func(c net.Conn) { c.Close() }))
	table.Upstreams[0].FailTimeout = time.Hour
	r.serve(table)
	for range 4 {
		r.says(getting("demo.local", "/"))
	}
	r.health(1, 1)
	before := r.server.Figures().Dialled
	for i := range 20 {
		next := *table
		next.Hosts = append(slices.Clip(table.Hosts), route.VirtualHost{Name: fmt.Sprintf("other-%d.local", i), Routes: table.Hosts[0].Routes})
		r.serve(&next)
		r.posts(1) // which the endpoint that is set aside would lose
	}
	r.health(1, 1)
	if after := r.server.Figures().Dialled; after != before {
		t.Errorf("%d connections were made anew", after-before)
	}
}

func TestARequestThatRunsFinishesWhereItIs(t *testing.T) {
	r := newRig(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := app(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "slow")
	})
	r.serve(all(slow))
	answer := make(chan string, 1)
	go func() { answer <- r.says("GET / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n") }()
	<-arrived
	r.serve(all(app(t, echo)))
	close(release)
	if got := <-answer; !strings.HasSuffix(got, "slow") {
		t.Errorf("%q", got)
	}
}
