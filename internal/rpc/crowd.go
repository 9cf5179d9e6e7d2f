package rpc

import (
	"container/list"
	"net"
	"sync"
)

// crowd is a set of connections that are open, of a limited size. It takes every
// newcomer and closes the oldest one for it: who comes to work is done or has
// moved on within moments, who comes to occupy the place is not. Nobody is
// counted by address, since behind a network address translation, as Docker's
// published ports have it, all are one.
type crowd struct {
	limit int

	mu     sync.Mutex
	guests list.List // of *guest, in the order in which they came
}

func newCrowd(limit int) *crowd { return &crowd{limit: limit} }

// take counts a guest here, and where it was before no longer.
func (c *crowd) take(g *guest) {
	oldest, leave := c.insert(g)
	if oldest != nil {
		oldest.sendAway()
	}
	g.moved(leave)
}

func (c *crowd) insert(g *guest) (oldest *guest, leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guests.Len() >= c.limit {
		oldest = c.guests.Remove(c.guests.Front()).(*guest)
	}
	place := c.guests.PushBack(g)
	return oldest, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.guests.Remove(place)
	}
}

// guest is a connection that counts in a crowd until it is closed.
type guest struct {
	net.Conn

	mu       sync.Mutex
	leave    func() // the crowd; nil: it is in none
	closed   bool
	sentAway bool
}

// moved notes how to leave the crowd that the guest is in now.
func (g *guest) moved(leave func()) {
	g.mu.Lock()
	before := g.leave
	g.leave = leave
	closed := g.closed
	g.mu.Unlock()
	if before != nil {
		before()
	}
	if closed {
		leave()
	}
}

// sendAway closes the connection because another one needs its place.
func (g *guest) sendAway() {
	g.mu.Lock()
	g.sentAway = true
	g.mu.Unlock()
	_ = g.Close()
}

func (g *guest) wasSentAway() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sentAway
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.mu.Lock()
	g.closed = true
	leave := g.leave
	g.mu.Unlock()
	if leave != nil {
		leave()
	}
	return g.Conn.Close()
}
