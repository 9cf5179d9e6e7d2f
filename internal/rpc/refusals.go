package rpc

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	refusalQuiet = 10 * time.Minute // between two log lines about one host
	refusalHosts = 1024             // that are remembered
)

// refusals logs who was refused, each host once in a while, so that nobody can
// fill the log from outside.
type refusals struct {
	log *slog.Logger

	mu     sync.Mutex
	logged map[netip.Addr]time.Time
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, logged: make(map[netip.Addr]time.Time)}
}

func (r *refusals) note(remote net.Addr, reason error) {
	if r.worthLogging(hostOf(remote), time.Now()) {
		r.log.Warn("connection refused; more from this host are not logged for a while",
			"remote", remote, "reason", reason, "quiet", refusalQuiet)
	}
}

func (r *refusals) worthLogging(host netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, known := r.logged[host]; known && now.Sub(last) < refusalQuiet {
		return false
	}
	if len(r.logged) >= refusalHosts {
		r.forget(now)
	}
	if len(r.logged) >= refusalHosts {
		return false // so many hosts at once are one event, which is in the log already
	}
	r.logged[host] = now
	return true
}

func (r *refusals) forget(now time.Time) {
	for host, last := range r.logged {
		if now.Sub(last) >= refusalQuiet {
			delete(r.logged, host)
		}
	}
}
