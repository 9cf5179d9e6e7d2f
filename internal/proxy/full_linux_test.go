package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// shallow listens with room for one connection that is not accepted yet.
func shallow(t *testing.T) (net.Listener, netip.AddrPort) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	listener, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener, netip.MustParseAddrPort(listener.Addr().String())
}

// fill makes connections until the kernel takes no more.
func fill(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	for range 10 {
		c, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the kernel takes every connection")
}

// An app that accepts nothing more for a while answers over what it has accepted.
func TestAConnectionThatBecomesFreeIsTakenWhereNoneCanBeMade(t *testing.T) {
	r := newRig(t, func(o *proxy.Options) { o.Limits.Connect = 1500 * time.Millisecond })
	listener, addr := shallow(t)
	r.serve(with(all(), addr))
	first, second := r.dial(), r.dial()
	ask := func(c net.Conn) {
		if _, err := io.WriteString(c, getting("demo.local", "/")); err != nil {
			t.Fatal(err)
		}
	}
	ask(first)
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if err := accepted.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	requests := bufio.NewReader(accepted)
	answer := func() {
		if _, err := http.ReadRequest(requests); err != nil {
			t.Error(err)
		}
		if !says(accepted, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") {
			t.Error("the connection is gone")
		}
	}
	fill(t, addr)
	ask(second)
	eventually(t, "both are asked for", func() bool { return r.server.Busy() == 2 })
	answer()
	if got, err := io.ReadAll(first); err != nil || !strings.HasSuffix(string(got), "hello") {
		t.Errorf("the first: %q, %v", got, err)
	}
	answer()
	if got, err := io.ReadAll(second); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("the second: %q, %v", got, err)
	}
	r.health(1, 0)
}
