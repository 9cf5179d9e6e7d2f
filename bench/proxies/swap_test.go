package proxies

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// BenchmarkSwap counts the requests that are lost while tables change: POST, so
// that none of them may be sent twice, over connections that stay open.
func BenchmarkSwap(b *testing.B) {
	s := setScene(b, false)
	j := &job{Addr: freePorts(b, 1)[0], Apps: s.apps, Hosts: 1000}
	server := newNative()
	check(b, server.Swap(tableFor(j)))
	listener, err := net.Listen("tcp", j.Addr)
	check(b, err)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, proxy.Entrance{Listener: listener}) }()
	for _, during := range []struct {
		what   string
		change func(*testing.B, *proxy.Server, *job)
	}{{"1,000 changes of endpoints", changeEndpoints}, {"100 whole tables of 1,000 hosts", changeTables}} {
		asked, lost := j.askThroughout(b, func() { during.change(b, server, j) })
		fmt.Printf("\n%s: %d requests of 64 clients, %d lost; wanted: 0\n", during.what, asked, lost)
		b.ReportMetric(float64(lost), "lost-by-"+slug(during.what))
	}
	b.ReportMetric(0, "ns/op")
	stop()
	check(b, <-ended)
}

// changeEndpoints takes an app out and in again, each in its turn.
func changeEndpoints(b *testing.B, server *proxy.Server, j *job) {
	for i := range 500 {
		for _, without := range []bool{true, false} {
			t, _ := tableFor(j)
			for u := range t.Upstreams {
				if app := &t.Upstreams[u]; without {
					app.Endpoints = slices.Delete(app.Endpoints, i%len(j.Apps), i%len(j.Apps)+1)
				}
			}
			check(b, server.Swap(t, nil))
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// changeTables has every upstream and every host but one replaced by others.
func changeTables(b *testing.B, server *proxy.Server, j *job) {
	for i := range 100 {
		t, _ := tableFor(j)
		rename := func(routes []route.Route) {
			for r := range routes {
				routes[r].Forward.Upstreams = []string{fmt.Sprintf("%s-%d", routes[r].Forward.Upstreams[0], i)}
			}
		}
		for u := range t.Upstreams {
			t.Upstreams[u].Name = fmt.Sprintf("%s-%d", t.Upstreams[u].Name, i)
		}
		rename(t.Default)
		for h := range t.Hosts {
			t.Hosts[h].Name = fmt.Sprintf("%d-%s", i, t.Hosts[h].Name)
			rename(t.Hosts[h].Routes)
		}
		check(b, server.Swap(t, nil))
		time.Sleep(50 * time.Millisecond)
	}
}

// askThroughout has clients ask while something is done.
func (j *job) askThroughout(b *testing.B, do func()) (asked, lost int) {
	const clients = 64
	t := &tally{}
	over := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { j.post(b.Context(), t, over) })
	}
	do()
	close(over)
	all.Wait()
	return len(t.took) + t.failed, t.failed
}

// post asks over one connection after the other, each as long as it does.
func (j *job) post(ctx context.Context, t *tally, over <-chan struct{}) {
	var c *client
	for {
		select {
		case <-over:
			if c != nil {
				c.Close()
			}
			return
		default:
		}
		var err error
		if c == nil {
			if c, err = j.dial(ctx); err == nil {
				c.ask = []byte("POST / HTTP/1.1\r\nHost: " + hostName + "\r\nContent-Length: 5\r\n\r\nhello")
			}
		}
		if err == nil {
			err = c.one()
		}
		if t.add(0, err); err != nil && c != nil {
			c.Close()
			c = nil
		}
	}
}
