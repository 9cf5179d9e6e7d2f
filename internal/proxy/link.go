package proxy

import (
	"net"
	"sync"
	"time"
)

// link is a connection that every read and write has a time limit on. To move a
// deadline costs about a tenth of a small request, so one that stands nearly
// where it should is left there: limits are kept to a second, or to an eighth
// where they are shorter than eight seconds. Those that are shorter than two it is
// moved for each time.
type link struct {
	net.Conn
	socket          net.Conn // what Conn speaks TLS over, or Conn itself
	clock           *clock
	readBy, writeBy time.Duration // on the clock; 0: no deadline was set yet
	// got and put are the bytes that were received and sent. They are kept by
	// whoever receives and sends.
	got, put int64

	mu      sync.Mutex // of the deadlines, against abort
	aborted bool
	// interrupted is like aborted, until resume.
	interrupted bool
}

func (l *link) read(b []byte, within time.Duration) (int, error) {
	l.allowRead(within)
	n, err := l.Read(b)
	l.got += int64(n)
	return n, err
}

func (l *link) write(b []byte, within time.Duration) error {
	l.allowWrite(within)
	n, err := l.Write(b)
	l.put += int64(n)
	return err
}

func (l *link) allowRead(within time.Duration) {
	if by := l.clock.about() + within; far(l.readBy, by, within) {
		l.readBy = by
		l.move(l.SetReadDeadline, within)
	}
}

func (l *link) allowWrite(within time.Duration) {
	if by := l.clock.about() + within; far(l.writeBy, by, within) {
		l.writeBy = by
		l.move(l.SetWriteDeadline, within)
	}
}

// far reports whether a deadline is not where it should be. The clock by which both
// are told may have been a tick late when it was set.
func far(is, should, within time.Duration) bool {
	slack := min(time.Second, within/8) - tick
	return is < should-slack || is > should+slack
}

func (l *link) move(set func(time.Time) error, within time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.aborted && !l.interrupted {
		// It fails for closed connections only, as will what follows.
		_ = set(time.Now().Add(within))
	}
}

// abort ends all reads and writes, now and from now on. Others than the one
// who reads and writes may call it.
func (l *link) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aborted = true
	_ = l.SetDeadline(time.Unix(1, 0))
}

// interrupt ends the reads and writes under way, and those until resume.
func (l *link) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupted = true
	_ = l.SetDeadline(time.Unix(1, 0))
}

// resume is for who reads and writes, when nobody else does.
func (l *link) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupted = false
	l.readBy, l.writeBy = 0, 0
	if !l.aborted {
		_ = l.SetDeadline(time.Time{})
	}
}

// abortReads ends reads only.
func (l *link) abortReads() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aborted = true
	_ = l.SetReadDeadline(time.Unix(1, 0))
}

// reset closes the connection so that the peer cannot take what it got for the
// whole.
func (l *link) reset() {
	if tcp, ok := l.socket.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	// Over TLS, closing would say that all was sent.
	l.socket.Close()
}

// linger closes the connection of a peer that may still be sending. Were it
// closed at once, what was just sent could be lost on its way to him (RFC 9112,
// section 9.6).
func (l *link) linger() {
	const patience, most = time.Second, 1 << 20
	defer l.Close()
	half, ok := l.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	l.mu.Lock()
	_ = l.SetReadDeadline(time.Now().Add(patience))
	l.mu.Unlock()
	b := takeSmall()
	defer giveBack(b)
	for total := 0; total < most; {
		n, err := l.Read(b)
		if total += n; err != nil {
			return
		}
	}
}

func (l *link) isAborted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.aborted
}
