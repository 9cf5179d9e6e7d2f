// Package probe finds out which addresses accept connections from here.
//
// It sends nothing and does not know who listens there, nor what for: whether an
// app is well is for its health check to say.
package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
)

const (
	// connectLimit bounds one attempt to connect.
	connectLimit = time.Second
	// staying is how long a connection must stand to count. Docker's own proxy
	// for published ports takes connections before it knows whether the container
	// does, and closes them if not.
	staying = 10 * time.Millisecond
	// atATime is how many attempts are made at a time.
	atATime = 64
)

// Knock reports whether an address accepts a connection. It takes about a second
// at most.
func Knock(ctx context.Context, address netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	return Accepts(ctx, address)
}

// Accepts is Knock for who says by ctx how long connecting may take.
func Accepts(ctx context.Context, address netip.AddrPort) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	if conn.SetReadDeadline(time.Now().Add(staying)) != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return n > 0 || errors.Is(err, os.ErrDeadlineExceeded)
}

// Prober knocks at addresses again and again until they accept.
type Prober struct {
	// Knock makes one attempt.
	Knock func(context.Context, netip.AddrPort) bool
	// Accepts is told once of every address that has accepted, with the round of
	// the question since which it has been asked about. It may be called from
	// several goroutines at a time.
	Accepts func(round uint64, address netip.AddrPort)
}

// Run asks what questions say, each in the place of the one before, until ctx
// ends. An address that is in both is not asked about anew.
func (p *Prober) Run(ctx context.Context, questions <-chan admission.Question) {
	var knocking sync.WaitGroup
	defer knocking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, atATime)
	visits := make(map[netip.AddrPort]context.CancelFunc)
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-questions:
			wanted := make(map[netip.AddrPort]bool, len(q.Addresses))
			for _, a := range q.Addresses {
				wanted[a] = true
				if visits[a] == nil {
					visit, end := context.WithCancel(ctx)
					visits[a] = end
					knocking.Go(func() { p.visit(visit, q.Round, a, slots) })
				}
			}
			for a, end := range visits {
				if !wanted[a] {
					end()
					delete(visits, a)
				}
			}
		}
	}
}

// visit knocks until the address accepts or ctx ends.
func (p *Prober) visit(ctx context.Context, round uint64, address netip.AddrPort, slots chan struct{}) {
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		accepts := p.Knock(ctx, address)
		<-slots
		if ctx.Err() != nil {
			return
		}
		if accepts {
			p.Accepts(round, address)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause(time.Since(began))):
		}
	}
}

// How long it takes until an address is tried again: little at first, more the
// longer that it has been tried, and much more once nobody waits for it.
const (
	firstPause   = 10 * time.Millisecond
	longPause    = 250 * time.Millisecond
	patientPause = 5 * time.Second
)

func pause(tried time.Duration) time.Duration {
	if tried >= admission.Limit {
		return patientPause
	}
	return min(firstPause+tried/4, longPause)
}
