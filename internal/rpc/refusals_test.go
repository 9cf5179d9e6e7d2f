package rpc

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

func TestAHostIsLoggedAgainAfterAWhile(t *testing.T) {
	r, host, begin := newRefusals(slog.New(slog.DiscardHandler)), netip.MustParseAddr("192.0.2.1"), time.Now()
	for _, call := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Minute, false}, {9 * time.Minute, false}, {10 * time.Minute, true}, {11 * time.Minute, false}} {
		if got := r.worthLogging(host, begin.Add(call.after)); got != call.want {
			t.Errorf("after %s: logged is %v", call.after, got)
		}
	}
}

func TestNoCrowdOfHostsFillsTheMemoryOrTheLog(t *testing.T) {
	r, begin, logged := newRefusals(slog.New(slog.DiscardHandler)), time.Now(), 0
	host := netip.MustParseAddr("10.0.0.0")
	for range 10 * refusalHosts {
		host = host.Next()
		if r.worthLogging(host, begin) {
			logged++
		}
	}
	if logged != refusalHosts || len(r.logged) != refusalHosts {
		t.Errorf("%d hosts were logged and %d are remembered, want %d", logged, len(r.logged), refusalHosts)
	}
	if !r.worthLogging(host, begin.Add(refusalQuiet)) {
		t.Error("a host is not logged though the others are long past")
	}
}
