package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// vanish has the kernel drop all that comes for a socket, as if its machine had
// lost its power: nothing is acknowledged, refused or reset.
func vanish(t *testing.T, socket syscall.Conn) {
	t.Helper()
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	option(t, socket, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
}

// reappear ends that.
func reappear(t *testing.T, socket syscall.Conn) {
	t.Helper()
	option(t, socket, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
}

func option(t *testing.T, socket syscall.Conn, set func(fd int) error) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = set(int(fd)) }); err != nil || failed != nil {
		t.Error(err, failed)
	}
}

// plainTCP listens without MPTCP, whose sockets take no filters.
func plainTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener.(*net.TCPListener)
}

func TestOneRequestFindsOutThatAMachineIsGoneAndNoneThatItIsBack(t *testing.T) {
	listener := plainTCP(t)
	vanish(t, listener)
	server := &http.Server{Handler: http.HandlerFunc(echo)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	r := newRig(t, func(o *proxy.Options) { o.Limits.Connect = short })
	r.serve(with(all(app(t, echo)), netip.MustParseAddrPort(listener.Addr().String())))
	r.posts(10)
	if n := r.retries(); n != 1 {
		t.Errorf("%d requests found out that a machine is gone, want one", n)
	}
	r.health(1, 1)
	reappear(t, listener)
	r.health(2, 0)
	r.posts(10)
	if n := r.retries(); n != 1 {
		t.Errorf("%d requests were tried twice, want one", n)
	}
}

// mortal is an app whose machine is gone with a request: with the first one, or
// with one on a connection that has served a request before.
type mortal struct {
	t        *testing.T
	listener *net.TCPListener
	kept     bool
	gone     atomic.Bool
	ended    chan struct{} // with the test
}

func newMortal(t *testing.T, kept bool) *mortal {
	t.Helper()
	listener := plainTCP(t)
	m := &mortal{t: t, listener: listener, kept: kept, ended: make(chan struct{})}
	var served sync.WaitGroup
	t.Cleanup(func() { close(m.ended); _ = listener.Close(); served.Wait() })
	served.Go(func() {
		for {
			c, err := m.listener.AcceptTCP()
			if err != nil {
				return
			}
			served.Go(func() { m.serve(c) })
		}
	})
	return m
}

func (m *mortal) serve(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return
	}
	m.die(c)
	if m.kept {
		says(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
	<-m.ended
}

func (m *mortal) die(c *net.TCPConn) {
	vanish(m.t, c)
	vanish(m.t, m.listener)
	m.gone.Store(true)
}

func TestAMachineThatIsGoneCostsNoRequestThatMayBeRepeated(t *testing.T) {
	for name, kept := range map[string]bool{"while it works on the request": false, "before the request comes on a kept connection": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMortal(t, kept)
			r := newRig(t, func(o *proxy.Options) { o.Limits.Connect = short })
			r.serve(with(all(app(t, echo)), netip.MustParseAddrPort(m.listener.Addr().String())))
			began := time.Now()
			for n := 0; n < 3 || !m.gone.Load(); n++ {
				got := r.says(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n", n))
				if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
					t.Fatalf("%.200q", got)
				}
			}
			// What has to end it here would take ten minutes.
			if took := time.Since(began); took > patience {
				t.Errorf("it took %s", took)
			}
			r.health(1, 1)
		})
	}
}
