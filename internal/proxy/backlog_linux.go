package proxy

import (
	"net"
	"os"
	"syscall"
)

// waiting takes a connection that the kernel has made and nobody has accepted yet;
// nil: there is none.
func waiting(l net.Listener) net.Conn {
	with, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return nil
	}
	accepted := -1
	err = raw.Control(func(fd uintptr) {
		accepted, _, err = syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	})
	if err != nil || accepted < 0 {
		return nil
	}
	file := os.NewFile(uintptr(accepted), l.Addr().String())
	defer file.Close()
	conn, err := net.FileConn(file) // which has a descriptor of its own
	if err != nil {
		return nil
	}
	return conn
}
