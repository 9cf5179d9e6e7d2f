package proxies

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

func startNative(b *testing.B, s *scene) *process {
	j := job{Does: "native", Addr: freePorts(b, 1)[0], Apps: s.apps, Hosts: s.hosts, Chain: s.chain, Key: s.key}
	return start(b, "native", j.command(b, proxyCore), j.Addr, s.secure)
}

// serveNative is the native proxy as a process of its own.
func serveNative(ctx context.Context, j *job) error {
	server := newNative()
	if err := server.Swap(tableFor(j)); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", j.Addr)
	if err != nil {
		return err
	}
	return server.Run(ctx, proxy.Entrance{Listener: listener, TLS: j.Chain != nil})
}

func newNative() *proxy.Server {
	limits := proxy.DefaultLimits()
	limits.MaxBody, limits.Requests = 0, 100_000_000
	return proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), ProxyID: "bench", ServerInfo: "interlock/bench", Limits: limits})
}

// tableFor makes a table whose hosts share few upstreams, so that as many
// connections to apps are kept whatever the number of hosts is.
func tableFor(j *job) (*route.Table, render.Credentials) {
	const upstreams = 10
	t := &route.Table{}
	for i := range upstreams {
		u := route.Upstream{Name: fmt.Sprintf("app-%d", i)}
		for _, a := range j.Apps {
			u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(a)})
		}
		t.Upstreams = append(t.Upstreams, u)
	}
	to := func(i int) []route.Route {
		return []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{t.Upstreams[i%upstreams].Name}}}}
	}
	t.Default = to(0)
	for i := range j.Hosts {
		t.Hosts = append(t.Hosts, route.VirtualHost{Name: nthHost(i), Routes: to(i)})
	}
	if j.Chain == nil {
		return t, nil
	}
	t.Hosts = append(t.Hosts, route.VirtualHost{Name: hostName, Credential: &route.Credential{}, Routes: to(0)})
	return t, render.Credentials{hostName: {Chain: j.Chain, Key: j.Key}}
}

func nthHost(i int) string { return fmt.Sprintf("app-%05d.example.com", i+1) }
