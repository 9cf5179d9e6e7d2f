package proxy

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// outflow is the sending side of a connection on which many streams say little at
// a time. What is written while others are about to write goes out together, in
// one system call; nothing is held back for what may come later.
//
// Whoever writes does not wait for the network, until a buffer is full. So an
// error is told to the one who writes next.
type outflow struct {
	link   link // to the socket
	panics *panics
	within func() time.Duration
	// ended is called once, when the connection is closed.
	ended func()

	mu      sync.Mutex
	room    sync.Cond
	waiting []byte // to be sent next, in a large buffer; nil: nothing is
	sending bool
	closing bool
	err     error
}

// closingLimit is how long the last bytes may take to be sent, all together.
const closingLimit = 5 * time.Second

func newOutflow(socket net.Conn, c *clock, p *panics, within func() time.Duration, ended func()) *outflow {
	o := &outflow{link: link{Conn: socket, socket: socket, clock: c}, panics: p, within: within, ended: ended}
	o.room.L = &o.mu
	return o
}

// Write takes all of b to be sent. Those who call it are goroutines of net/http.
func (o *outflow) Write(b []byte) (taken int, err error) {
	defer o.panics.contain(func() {
		err = errPanicked
		o.sent(err) // half of something may wait
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for o.err == nil && !o.closing && len(o.waiting) == largeBuffer {
			o.room.Wait()
		}
		switch {
		case o.err != nil:
			return taken, o.err
		case o.closing:
			return taken, net.ErrClosed
		case o.waiting == nil:
			o.waiting = takeLarge()[:0]
		}
		n := min(len(b)-taken, largeBuffer-len(o.waiting))
		o.waiting = append(o.waiting, b[taken:taken+n]...)
		if !o.sending {
			o.sending = true
			go o.send()
		}
		if taken += n; taken == len(b) {
			return taken, nil
		}
	}
}

// send sends what waits until nothing does. It first lets everybody go on who
// can: they may have more to say.
func (o *outflow) send() {
	defer o.panics.contain(func() {
		o.sent(errPanicked)
		o.rest()
	})
	for {
		runtime.Gosched()
		b := o.next()
		if b == nil {
			return
		}
		_, err := o.link.Write(b)
		giveBack(b)
		o.sent(err)
	}
}

// next returns what is to be sent; nil: nothing is, and send ends. The limit for it
// is set while the lock is held: that of Close comes before or after it.
func (o *outflow) next() (b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, o.waiting = o.waiting, nil
	switch {
	case b == nil:
		o.stopped()
	case !o.closing: // else the limit stands
		o.link.allowWrite(o.within())
	}
	return b
}

// rest is for send when it comes to no good end.
func (o *outflow) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped()
}

// stopped says that nobody sends any more. The lock is held.
func (o *outflow) stopped() {
	o.sending = false
	if o.closing {
		o.end()
	}
}

// sent makes room for who waits. After an error nothing can follow.
func (o *outflow) sent(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil && o.err == nil {
		o.err = err
		_ = o.link.socket.Close() // who reads notices
	}
	if o.err != nil {
		giveBack(o.waiting)
		o.waiting = nil
	}
	o.room.Broadcast()
}

// Close closes the connection as soon as all is sent, or cannot be. It does not
// wait for that.
func (o *outflow) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return net.ErrClosed
	}
	o.closing = true
	o.room.Broadcast()
	if o.sending {
		return o.link.SetWriteDeadline(time.Now().Add(closingLimit))
	}
	o.end()
	return nil
}

// end closes the socket. The lock is held.
func (o *outflow) end() {
	_ = o.link.socket.Close()
	o.ended()
}
