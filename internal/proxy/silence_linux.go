package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitSilence has the kernel end a connection on which something stays
// unacknowledged for the limit, in milliseconds; 0: for as long as TCP tries, a
// quarter of an hour. It fails for closed connections only, as will what follows.
func limitSilence(raw syscall.RawConn, milliseconds int) {
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds)
	})
}
