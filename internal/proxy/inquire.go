package proxy

import (
	"errors"
	"io"
	"syscall"
	"time"
	"unsafe"
)

// inquiry is a request, all of which is there, on its way over a connection to
// an endpoint. It is one call to the runtime's poller: the look whether the
// endpoint is silent is also the attempt to read that must go before waiting for
// the answer, which saves a system call of six.
//
// While it waits it holds no buffer: the request's is given back when it is sent,
// and one for the answer is taken when there is something to receive.
type inquiry struct {
	ask, reply []byte
	sent, got  int
	err        error
	look       [1]byte
}

// errSpoke is about a connection that was kept open: the endpoint has closed it
// since, or has said what nobody asked for. Nothing was sent.
var errSpoke = errors.New("the endpoint was not silent")

// inquires reports whether a request goes to the kernel as it is, over TLS it
// does not.
func (c *upstreamConn) inquires() bool { return c.raw != nil && c.Conn == c.socket }

// inquire sends a request, whose buffer it gives back, and receives the first
// bytes of the answer in another.
func (c *upstreamConn) inquire(ask []byte, within time.Duration) (reply []byte, received int, err error) {
	c.inquiry = inquiry{ask: ask}
	c.allowRead(within)
	err = c.raw.Read(c.proceed)
	i := c.inquiry
	c.inquiry = inquiry{}
	c.put += int64(i.sent)
	c.got += int64(i.got)
	defer giveBack(i.ask)
	switch {
	case err != nil:
	case i.err != nil || i.got > 0:
		err = i.err
	case i.ask == nil:
		err = io.EOF
	default: // the kernel did not take all at once
		if err = c.write(ask[i.sent:], within); err == nil {
			i.reply = takeSmall()
			i.got, err = c.read(i.reply, within)
		}
	}
	return i.reply, i.got, err
}

// tryInquiry does what can be done without waiting; false asks to be called
// again when there is something to receive.
func (c *upstreamConn) tryInquiry(fd uintptr) bool {
	i := &c.inquiry
	if i.ask == nil {
		i.reply = takeSmall()
		var errno syscall.Errno
		i.got, errno = receive(fd, i.reply)
		i.err = fault(errno)
		if errno == syscall.EAGAIN {
			giveBack(i.reply)
			i.reply = nil
		}
		return errno != syscall.EAGAIN
	}
	if _, errno := receive(fd, i.look[:]); errno != syscall.EAGAIN {
		i.err = errSpoke
		return true
	}
	n, errno := transmit(fd, i.ask)
	i.sent, i.err = n, fault(errno)
	if n < len(i.ask) {
		return true
	}
	giveBack(i.ask)
	i.ask = nil
	return false
}

// silent reports whether the endpoint has neither closed the connection nor
// said anything that nobody asked for.
func (c *upstreamConn) silent() bool {
	return c.raw != nil && c.raw.Read(c.peek) == nil && c.peeked == syscall.EAGAIN
}

func (c *upstreamConn) tryReceive(fd uintptr) bool {
	var b [1]byte
	_, c.peeked = receive(fd, b[:])
	return true
}

// fault is nil for what is none, or passes when more room comes.
func fault(errno syscall.Errno) error {
	if errno == 0 || errno == syscall.EAGAIN {
		return nil
	}
	return errno
}

// receive and transmit do what can be done at once; EAGAIN: that is nothing.
// The sockets never block, so the scheduler need not be told of the calls.
func receive(fd uintptr, b []byte) (int, syscall.Errno) { return call(syscall.SYS_READ, fd, b) }

func transmit(fd uintptr, b []byte) (int, syscall.Errno) { return call(syscall.SYS_WRITE, fd, b) }

func call(what, fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(what, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
