package proxy_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/proxy"
)

func TestOneRequestFindsOutThatAMachineIsGoneAndNoneThatItIsBack(t *testing.T) {
	listener := fixture.ListenPlainTCP(t)
	fixture.Vanish(t, listener)
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
	fixture.Reappear(t, listener)
	r.health(2, 0)
	r.posts(10)
	if n := r.retries(); n != 1 {
		t.Errorf("%d requests were tried twice, want one", n)
	}
}

func TestAMachineThatIsGoneCostsNoRequestThatMayBeRepeated(t *testing.T) {
	for name, after := range map[string]func(*net.TCPConn){
		"while it works on the request":                 nil,
		"before the request comes on a kept connection": func(c *net.TCPConn) { says(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := fixture.NewMortal(t, nil, after)
			r := newRig(t, func(o *proxy.Options) { o.Limits.Connect = short })
			r.serve(with(all(app(t, echo)), m.Addr))
			began := time.Now()
			for n := 0; n < 3 || !m.Gone.Load(); n++ {
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
