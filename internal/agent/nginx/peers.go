package nginx

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

const (
	// peerLimit is how long an app's machine may leave unacknowledged what nginx sent
	// to it. It is the native proxy's limit, so that both give up a machine alike; as
	// two adapters they share no code.
	peerLimit = 2 * time.Second
	// peerInterval is how often the kernel is asked whether it sent something again.
	// Only then is it asked for connections, for which it walks through those of the
	// whole machine: some 10 ms of CPU, and as much again beside 8,800 of ours.
	peerInterval = 500 * time.Millisecond
	// vainTries are how often the kernel must have sent it again, in vain: where an
	// acknowledgment takes seconds on its way, it does so later.
	vainTries = 2
	// peersTold bounds how many addresses a message lists.
	peersTold = 10
)

// pending is a TCP connection with something that its peer has not acknowledged.
type pending struct {
	cookie [2]uint32 // the kernel's own number for it
	inode  uint32
	ipv6   bool
	local  netip.AddrPort
	peer   netip.AddrPort
	acked  uint64 // bytes that the peer has acknowledged
	tries  int    // how often the rest was sent again since
	// sent is how long ago something was last sent, if only again.
	sent time.Duration
}

// quiet is what is remembered of a peer that owes something.
type quiet struct {
	since time.Time // it acknowledges nothing at least since then
	acked uint64
}

// quietPeers are by the connection's cookie.
type quietPeers map[[2]uint32]quiet

// silent returns the connections whose peers have acknowledged nothing for too long,
// and remembers the others of those given. As with the native proxy only progress
// counts: the way may be open in one direction. A peer that has no room for more owes
// nothing and is not among those given.
func (q quietPeers) silent(now time.Time, all []pending) []pending {
	var silent []pending
	still := make(map[[2]uint32]bool, len(all))
	for _, c := range all {
		still[c.cookie] = true
		before, known := q[c.cookie]
		if !known || before.acked != c.acked {
			q[c.cookie] = quiet{since: now.Add(-c.sent), acked: c.acked}
			continue
		}
		if now.Sub(before.since) >= peerLimit && c.tries >= vainTries {
			silent = append(silent, c)
		}
	}
	for cookie := range q {
		if !still[cookie] {
			delete(q, cookie)
		}
	}
	return silent
}

// endSilent ends nginx's connections to apps whose machines have fallen silent, until
// ctx ends: nginx tries requests that may be repeated elsewhere. By itself it would
// wait for an answer as long as ReadTimeout says.
func (p *process) endSilent(ctx context.Context) {
	kernel, err := openSockets()
	if err != nil {
		p.log.Warn("requests to a machine that is gone wait as long as ReadTimeout says, as their connections cannot be ended", "error", err)
		return
	}
	ticker := time.NewTicker(peerInterval)
	defer ticker.Stop()
	peers, failed := make(quietPeers), ""
	var sentAgain string
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		before := sentAgain
		sentAgain, err = kernel.sentAgain()
		if err == nil && sentAgain == before && len(peers) == 0 {
			continue
		}
		if err == nil {
			err = p.endSilentOnce(kernel, peers)
		}
		if err != nil && err.Error() != failed {
			failed = err.Error()
			p.log.Warn("connections to machines that are gone may stay", "error", err)
		}
	}
}

func (p *process) endSilentOnce(kernel *sockets, peers quietPeers) error {
	all, err := kernel.pending()
	if err != nil {
		return fmt.Errorf("asking the kernel for connections: %w", err)
	}
	silent := peers.silent(time.Now(), all)
	if len(silent) == 0 {
		return nil
	}
	// What follows is seldom needed, and may cost more.
	if silent, err = p.opened(kernel, silent); err != nil {
		return err
	}
	var ended []string
	for _, c := range silent {
		done, err := kernel.end(c)
		if err != nil {
			return fmt.Errorf("ending a connection to %s: %w", c.peer, err)
		}
		if done {
			ended = append(ended, c.peer.String())
		}
	}
	if len(ended) > 0 {
		count := len(ended)
		slices.Sort(ended)
		ended = slices.Compact(ended)
		p.log.Warn("connections ended, as the app's machine acknowledges nothing", "connections", count,
			"to", strings.Join(ended[:min(len(ended), peersTold)], ", "))
	}
	return nil
}

// opened returns those connections that nginx has opened: a client's is accepted at a
// port that is listened on, and others may share the network.
func (p *process) opened(kernel *sockets, all []pending) ([]pending, error) {
	listening, err := kernel.listening()
	if err != nil {
		return nil, fmt.Errorf("asking the kernel for listening sockets: %w", err)
	}
	inodes, err := socketsOf(p.group())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(c pending) bool { return listening[c.local.Port()] || !inodes[c.inode] }), nil
}

// socketsOf returns the inodes of the sockets that a group of processes has open.
func socketsOf(group int) (map[uint32]bool, error) {
	processes, err := agent.OSProcesses()
	if err != nil {
		return nil, fmt.Errorf("looking for nginx's workers: %w", err)
	}
	inodes := make(map[uint32]bool)
	for _, process := range processes {
		if process.Group != group || process.Zombie {
			continue
		}
		folder := "/proc/" + strconv.Itoa(process.PID) + "/fd"
		files, err := os.ReadDir(folder)
		if os.IsNotExist(err) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("looking for nginx's sockets: %w", err)
		}
		for _, file := range files {
			target, _ := os.Readlink(folder + "/" + file.Name())
			if number, is := strings.CutPrefix(target, "socket:["); is {
				inode, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
				inodes[uint32(inode)] = true
			}
		}
	}
	return inodes, nil
}
