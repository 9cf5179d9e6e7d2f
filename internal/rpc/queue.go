package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// queue is the listener of a server that stands behind a gate.
type queue struct {
	address net.Addr
	crowd   *crowd // of the connections that the server has been given
	conns   chan net.Conn
	closed  chan struct{}
	close   func()
}

// newQueue makes a queue for a server that has at most limit connections.
func newQueue(address net.Addr, limit int) *queue {
	closed := make(chan struct{})
	return &queue{address: address, crowd: newCrowd(limit), conns: make(chan net.Conn), closed: closed, close: sync.OnceFunc(func() { close(closed) })}
}

// put waits until the server takes the connection; it fails if it never will.
func (q *queue) put(conn net.Conn) error {
	select {
	case q.conns <- conn:
		return nil
	case <-q.closed:
		return net.ErrClosed
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.close()
	return nil
}

func (q *queue) Addr() net.Addr { return q.address }

// established are the credentials of connections that have passed a gate: the
// handshake is over, and gRPC only needs to be told who came.
type established struct{}

func (established) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil, errors.New("a connection came round the gate")
	}
	return conn, credentials.TLSInfo{
		State:          secure.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (established) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a gate is for servers")
}

func (established) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (established) Clone() credentials.TransportCredentials { return established{} }

func (established) OverrideServerName(string) error { return nil }
