package proxy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// manyHosts is a table of hosts with three endpoints each.
func manyHosts(n int) *route.Table {
	t := &route.Table{}
	for i := range n {
		u := route.Upstream{Name: fmt.Sprintf("app-%05d", i)}
		for e := range 3 {
			u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(e)}), 8080), Task: fmt.Sprintf("%d-%d", i, e)})
		}
		t.Upstreams = append(t.Upstreams, u)
		t.Hosts = append(t.Hosts, route.VirtualHost{Name: fmt.Sprintf("app-%05d.example.com", i), Routes: []route.Route{{PathPrefix: "/", Forward: to(u.Name)}}})
	}
	return t
}

func BenchmarkSwapOfAWholeTableOf10000Hosts(b *testing.B) {
	table := manyHosts(10_000)
	for b.Loop() {
		if err := proxy.New(proxy.Options{Limits: proxy.DefaultLimits()}).Swap(table, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSwapOfOneEndpointOf30000(b *testing.B) {
	server := proxy.New(proxy.Options{Limits: proxy.DefaultLimits()})
	if err := server.Swap(manyHosts(10_000), nil); err != nil {
		b.Fatal(err)
	}
	// As from the wire, tables have nothing in common.
	tables := []*route.Table{manyHosts(10_000), manyHosts(10_000)}
	u := &tables[1].Upstreams[5000]
	u.Endpoints = slices.Delete(u.Endpoints, 0, 1)
	for i := 0; b.Loop(); i++ {
		if err := server.Swap(tables[i%2], nil); err != nil {
			b.Fatal(err)
		}
	}
}
