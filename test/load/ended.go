package load

import (
	"net"
	"syscall"
)

// hasEnded says whether the other side has closed a connection on which nothing
// is due. Every client looks before it sends: what is closed after that look is
// the race that a client can lose.
func hasEnded(conn net.Conn) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	ended := true
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = err != syscall.EAGAIN
	})
	return ended || err != nil
}
