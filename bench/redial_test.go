package bench

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
)

// proxiesAtOnce is how many proxies one sample of a redial is made of.
const proxiesAtOnce = 20

// BenchmarkRedial measures how soon an agent is dialled that refused connections
// for a while, from the moment that it listens. It needs no lab.
func BenchmarkRedial(b *testing.B) {
	for _, late := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 10 * time.Second} {
		b.Run("refusing-for-"+late.String(), func(b *testing.B) {
			for b.Loop() {
				noTimePerOperation(b)
				report(b, "dialled-after", redials(b, late))
			}
		})
	}
}

func redials(b *testing.B, late time.Duration) []time.Duration {
	b.Helper()
	deliverer := delivery.New(delivery.Options{
		TLS:     func(string) *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS13} },
		Sign:    func(string, []byte) ([]byte, error) { return nil, nil },
		RenewAt: pki.RenewAt, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	var delivering, dialled errgroup.Group
	delivering.Go(func() error { return deliverer.Run(ctx) })
	defer func() {
		cancel()
		check(b, delivering.Wait())
	}()

	proxies := refusing(b)
	deliverer.Deliver("", proxies, nil)
	time.Sleep(late)
	took := make([]time.Duration, len(proxies))
	for i, p := range proxies {
		dialled.Go(func() (err error) {
			took[i], err = firstDial(ctx, p.Addr)
			return err
		})
	}
	check(b, dialled.Wait())
	return took
}

// refusing lists places where nobody listens any more.
func refusing(b *testing.B) []delivery.Proxy {
	b.Helper()
	proxies := make([]delivery.Proxy, proxiesAtOnce)
	for i := range proxies {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(b, err)
		defer listener.Close()
		proxies[i] = delivery.Proxy{Addr: netip.MustParseAddrPort(listener.Addr().String())}
	}
	return proxies
}

// firstDial listens until somebody dials, and says how long that was.
func firstDial(ctx context.Context, at netip.AddrPort) (time.Duration, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", at.String())
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	began := time.Now()
	conn, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, conn.Close()
}
