package probe

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
)

const (
	// current is for how long it counts that an address accepted a connection:
	// meanwhile a table with its task comes, which takes a few dozen milliseconds.
	current = time.Second
	// remembered bounds how many addresses are kept.
	remembered = admission.MaxAddresses
)

// Memory keeps which addresses have just accepted a connection, so that somebody
// else in the process need not connect as well. Its zero value is ready to be used,
// by several goroutines at a time.
type Memory struct {
	mu sync.Mutex
	at map[netip.AddrPort]time.Time // when an address accepted
}

// Knock is [Knock], and remembered.
func (m *Memory) Knock(ctx context.Context, address netip.AddrPort) bool {
	if !Knock(ctx, address) {
		return false
	}
	m.keep(address, time.Now())
	return true
}

// keep forgets others, and not those that count, where it has no room.
func (m *Memory) keep(address netip.AddrPort, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = make(map[netip.AddrPort]time.Time)
	}
	if _, known := m.at[address]; !known && len(m.at) >= remembered {
		for a, at := range m.at {
			if now.Sub(at) >= current {
				delete(m.at, a)
			}
		}
		if len(m.at) >= remembered {
			return
		}
	}
	m.at[address] = now
}

// Accepted reports whether an address accepted a connection within the last second.
func (m *Memory) Accepted(address netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, known := m.at[address]
	return known && time.Since(at) < current
}
