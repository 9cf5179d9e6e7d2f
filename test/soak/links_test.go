package soak

import (
	"net/http"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/load"
)

// linkDown pulls a worker's cable with tasks of all apps behind it, and plugs it
// in again when others may have got their addresses.
func linkDown(t *testing.T, i *installation) load.Result {
	const healedAfter = 3 * time.Second // is judged in the full form, as all times are
	i.createDemo(t, 3, "--replicas-max-per-node", "1")
	node := site.Lab.Node("worker-00")
	l := startLoad(t)
	time.Sleep(settled)
	pulled := time.Now()
	check(t, node.LinkDown(t.Context()))
	time.Sleep(time.Duration(often(60, 10)) * time.Second)
	check(t, node.LinkUp(t.Context()))
	time.Sleep(time.Duration(often(60, 5)) * time.Second)
	r := l.Stop()
	mine := func(k load.Kind) bool { return i.kind == "native" || !k.KeepAlive }
	if n := r.LostOf(func(k load.Kind) bool { return mine(k) && k.Method == http.MethodGet }); n > 0 {
		t.Errorf("%d GET requests were lost, want none", n)
	}
	if n := r.LostSince(pulled.Add(healedAfter), mine); full && n > 0 {
		t.Errorf("%d requests were lost that began %s after the cable was pulled, or later", n, healedAfter)
	}
	return r
}
