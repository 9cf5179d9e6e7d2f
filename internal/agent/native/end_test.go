package native_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// A rolling update of the proxies stops one with a signal, which ends the context
// that the agent runs with.
func TestAProxyThatIsToldToStopTakesNoConnectionAndFinishesItsRequests(t *testing.T) {
	r := newRig(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		fmt.Fprint(w, "finished")
	}))
	t.Cleanup(app.Close)
	table := demo(t, "unused")
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: netip.MustParseAddrPort(app.Listener.Addr().String()), Task: "task"}}
	if err := r.apply(r.render(table, nil, nil)); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(r.host, strconv.Itoa(int(r.port)))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	answers := make(chan string, 1)
	go func() {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+"/", http.NoBody)
		if err != nil {
			answers <- err.Error()
			return
		}
		request.Host = "demo.local"
		response, err := transport.RoundTrip(request)
		if err != nil {
			answers <- err.Error()
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		answers <- fmt.Sprint(string(body), " ", err, " close: ", response.Close)
	}()
	await(t, arrived, "the request reaches the app")
	r.cancel()
	waitRefused(t, address)
	close(release)
	select {
	case got := <-answers:
		if got != "finished <nil> close: true" {
			t.Errorf("the running request got: %s", got)
		}
	case <-time.After(patience):
		t.Fatal("the running request got no answer")
	}
	r.stop()
}

func TestAClientThatKeepsItsConnectionIsAnsweredOnceMoreByAProxyThatEnds(t *testing.T) {
	r := newRig(t)
	if err := r.apply(r.render(demo(t, "there"), nil, nil)); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(r.host, strconv.Itoa(int(r.port)))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	ask := func() (close bool) {
		t.Helper()
		if _, err := fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != "there" {
			t.Fatalf("the answer is %q, %v", body, err)
		}
		return response.Close
	}
	if ask() {
		t.Error("the connection was not to be kept")
	}
	r.cancel()
	waitRefused(t, address)
	if !ask() {
		t.Error("the answer of a proxy that ends does not say that the connection closes")
	}
	r.stop()
}

// waitRefused waits until nobody listens at an address any more.
func waitRefused(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still takes connections")
		}
	}
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("it never came about that %s", what)
	}
}
