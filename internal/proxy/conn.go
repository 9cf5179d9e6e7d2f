package proxy

import (
	"cmp"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a client's connection, or one of its streams. While it waits for a
// request it has no buffers but those of TLS.
type conn struct {
	link
	server  *Server
	proto   string // "http" or "https"
	name    []byte // that a client has asked for in TLS, canonical
	version byte   // 2: it is a stream of HTTP/2
	remote  netip.AddrPort
	address string // the host of remote
	trusted bool   // what the client says of another client is true
	served  int    // requests
	number  uint64 // of the connections that the server has taken
	// tlsVersion and cipher are crypto/tls's numbers.
	tlsVersion, cipher uint16
	// accountedGot and accountedPut are the bytes that have been counted.
	accountedGot, accountedPut int64
	waits                      atomic.Bool
	// overHTTP2 says that net/http serves the connection.
	overHTTP2 atomic.Bool
	// ended says that the client is gone, or was sent away.
	ended atomic.Bool
	// asks is the endpoint's connection that an answer is awaited from. Whoever takes
	// it out has it: to end it, or to keep it for others.
	asks atomic.Pointer[upstreamConn]

	// What receive and transmit, which raw calls, work with.
	raw               syscall.RawConn
	receive, transmit func(fd uintptr) bool
	buf               []byte
	received          int
	first             [1]byte
	rest              []byte // to be sent
	fault             error
}

func newConn(s *Server, accepted net.Conn) *conn {
	c := &conn{link: link{Conn: accepted, socket: accepted, clock: s.clock}, server: s, proto: "http"}
	if addr, ok := accepted.RemoteAddr().(*net.TCPAddr); ok {
		at := addr.AddrPort()
		c.remote = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	}
	c.address = c.remote.Addr().String()
	for _, network := range s.options().Trusted {
		c.trusted = c.trusted || network.Contains(c.remote.Addr())
	}
	if with, ok := accepted.(syscall.Conn); ok {
		c.raw, _ = with.SyscallConn() // it fails where the connection is closed
	}
	c.receive, c.transmit = c.tryReceive, c.tryTransmit
	return c
}

func (c *conn) secured() bool { return c.proto == "https" }

// serve serves one request after the other until one of the two sides ends it.
func (c *conn) serve() {
	for c.await() {
		switch c.exchange() {
		case closeNow:
			c.Close()
			return
		case closeLate:
			c.linger()
			return
		case cutOff:
			c.reset()
			return
		}
	}
	c.Close()
}

// exchange serves the requests that the connection has received the first bytes of.
func (c *conn) exchange() (after end) {
	x, served := takeExchange(c), false
	defer func() {
		if served {
			x.release()
		} else {
			x.abandon()
		}
	}()
	after = x.serve()
	served = true
	return after
}

// await waits for the first bytes of a request, and reports whether they came.
func (c *conn) await() bool {
	c.allowRead(c.server.options().Limits.Idle)
	c.waits.Store(true)
	defer c.waits.Store(false)
	if c.server.clients.shutting.Load() {
		return false
	}
	if c.raw == nil {
		return c.awaitByte()
	}
	if err := c.raw.Read(c.receive); err != nil {
		return false
	}
	c.got += int64(c.received)
	return c.received > 0
}

// awaitByte waits for the first byte where it is not the kernel that knows
// whether there is any.
func (c *conn) awaitByte() bool {
	if n, _ := c.Read(c.first[:]); n == 0 {
		return false
	}
	c.buf = takeSmall()
	c.received = copy(c.buf, c.first[:])
	c.got++
	return true
}

// tryReceive takes a buffer only when there is something to receive; false asks
// to be called again then.
func (c *conn) tryReceive(fd uintptr) bool {
	b := takeSmall()
	n, errno := receive(fd, b)
	c.received = n
	if n > 0 {
		c.buf = b
		return true
	}
	giveBack(b)
	return errno != syscall.EAGAIN
}

// write sends all of b.
func (c *conn) write(b []byte, within time.Duration) error {
	if c.raw == nil {
		return c.link.write(b, within)
	}
	c.allowWrite(within)
	c.rest, c.fault = b, nil
	err := c.raw.Write(c.transmit)
	c.put += int64(len(b) - len(c.rest))
	c.rest = nil
	return cmp.Or(err, c.fault)
}

// tryTransmit sends what the kernel takes at once; false asks to be called again
// when there is room for more.
func (c *conn) tryTransmit(fd uintptr) bool {
	n, errno := transmit(fd, c.rest)
	c.rest, c.fault = c.rest[n:], fault(errno)
	return c.fault != nil || len(c.rest) == 0
}

// endIfIdle ends a connection that waits for a request.
func (c *conn) endIfIdle() {
	if c.waits.Load() {
		c.abortReads()
	}
}

// end ends the connection, whatever it is doing.
func (c *conn) end() {
	c.ended.Store(true)
	c.abort()
	if c.overHTTP2.Load() {
		c.socket.Close() // net/http has deadlines of its own
	}
	if up := c.asks.Swap(nil); up != nil {
		up.abort()
	}
}

// turnAway answers a client that is one too many.
func (c *conn) turnAway() {
	const answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 48\r\nRetry-After: 1\r\nConnection: close\r\n\r\n" +
		"503 Service Unavailable\n\nToo many connections.\n"
	if c.write([]byte(answer), tick) == nil {
		c.linger()
		return
	}
	c.Close()
}
