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
type inquiry struct {
	ask, reply []byte
	sent, got  int
	err        error
}

// errSpoke is about a connection that was kept open: the endpoint has closed it
// since, or has said what nobody asked for. Nothing was sent.
var errSpoke = errors.New("the endpoint was not silent")

// inquires reports whether a request goes to the kernel as it is, over TLS it
// does not.
func (c *upstreamConn) inquires() bool { return c.raw != nil && c.Conn == c.socket }

// inquire sends a request and receives the first bytes of the answer into reply.
func (c *upstreamConn) inquire(ask, reply []byte, within time.Duration) (int, error) {
	c.inquiry = inquiry{ask: ask, reply: reply}
	c.allowRead(within)
	err := c.raw.Read(c.proceed)
	i := c.inquiry
	c.inquiry = inquiry{}
	c.put += int64(i.sent)
	c.got += int64(i.got)
	switch {
	case err != nil:
		return 0, err
	case i.err != nil || i.got > 0:
		return i.got, i.err
	case i.sent == len(ask):
		return 0, io.EOF
	}
	// The kernel did not take all at once.
	if err := c.write(ask[i.sent:], within); err != nil {
		return 0, err
	}
	return c.read(reply, within)
}

// tryInquiry does what can be done without waiting; false asks to be called
// again when there is something to receive.
func (c *upstreamConn) tryInquiry(fd uintptr) bool {
	i := &c.inquiry
	n, errno := receive(fd, i.reply)
	switch nothing := errno == syscall.EAGAIN; {
	case i.sent > 0 && nothing:
		return false
	case i.sent > 0:
		i.got, i.err = n, fault(errno)
		return true
	case !nothing:
		i.err = errSpoke
		return true
	}
	i.sent, errno = transmit(fd, i.ask)
	i.err = fault(errno)
	return i.err != nil || i.sent < len(i.ask)
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
