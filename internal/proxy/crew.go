package proxy

import "sync"

// crew are goroutines that serve streams, each one after the other. So they have
// grown the stack that an exchange takes, which a new goroutine would have to
// copy several times, and what a stream is made of is at hand.
type crew struct {
	mu   sync.Mutex
	idle []*hand // the one used last is the last
	// least is how many have been idle ever since the last look.
	least int
	over  bool
	all   sync.WaitGroup
}

// hand is one of a crew.
type hand struct {
	begin  chan struct{}
	done   chan bool // what serveNext says
	stream *stream   // the one that it serves, again and again
}

// take returns one to be put back; nil: the crew is closed.
func (c *crew) take() *hand {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	if last := len(c.idle) - 1; last >= 0 {
		h := c.idle[last]
		c.idle = c.idle[:last]
		c.least = min(c.least, last)
		return h
	}
	h := &hand{begin: make(chan struct{}, 1), done: make(chan bool, 1), stream: newStream()}
	c.all.Go(h.run)
	return h
}

// put gives back who was taken. One that is not sound is not taken again.
func (c *crew) put(h *hand, sound bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || !sound {
		close(h.begin)
		return
	}
	c.idle = append(c.idle, h)
}

// thin ends half of those that nobody has needed since it was called last: who comes
// in waves finds many of them again.
func (c *crew) thin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end((c.least + 1) / 2)
	c.least = len(c.idle)
}

// end ends so many that are idle. The lock is held.
func (c *crew) end(n int) {
	for _, h := range c.idle[:n] {
		close(h.begin)
	}
	left := copy(c.idle, c.idle[n:])
	clear(c.idle[left:])
	c.idle = c.idle[:left]
}

// close ends all, and waits for those who still serve.
func (c *crew) close() {
	c.mu.Lock()
	c.over = true
	c.end(len(c.idle))
	c.least = 0
	c.mu.Unlock()
	c.all.Wait()
}

func (h *hand) run() {
	for range h.begin {
		h.done <- h.serveNext()
	}
}

// serveNext serves a stream; false: a panic has ended it.
func (h *hand) serveNext() (sound bool) {
	defer h.stream.conn.server.panics.contain()
	h.stream.serve()
	return true
}

// serve has the stream served, until that is over; once the client is gone, it
// soon is. It reports what serveNext does.
func (h *hand) serve() (sound bool) {
	h.begin <- struct{}{}
	select {
	case sound = <-h.done:
	case <-h.stream.request.Context().Done():
		h.stream.conn.end()
		sound = <-h.done
	}
	return sound
}
