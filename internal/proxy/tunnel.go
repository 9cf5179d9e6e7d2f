package proxy

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// tunnel passes bytes both ways after an upgrade, until one side ends it or both
// are silent for too long.
func (x *exchange) tunnel(c *upstreamConn) end {
	x.facts.status = 101
	x.out = statusLine(x.out, 101, "Switching Protocols")
	for i := range x.response.Fields {
		f := &x.response.Fields[i]
		if f.Known != http1.Info && f.Known != http1.RequestID && !x.response.ForOneHop(f) {
			x.out = http1.AppendField(x.out, f.Name, f.Value)
		}
	}
	x.out = append(x.out, "Connection: upgrade\r\nUpgrade: websocket\r\n"...)
	x.request.KeepAlive = true // it says nothing about closing
	x.endHead()
	x.out = append(x.out, x.reply.unread()...)
	defer c.Close()
	if x.flush() != nil || len(x.in.unread()) > 0 && c.write(x.in.unread(), x.server.options().Limits.Send) != nil {
		return closeNow
	}
	x.in.r = x.in.w
	quiet := x.server.options().Limits.Websocket
	var heard atomic.Int64
	heard.Store(int64(x.server.clock.about()))
	x.server.pipeBoth(&x.conn.link, &c.link, x.in.buf, x.reply.buf, &heard, quiet)
	return closeNow
}

// pipeBoth passes bytes both ways, through a buffer each, until one side ends it
// or both are silent for too long. After a panic both connections are reset: neither
// side may take what it got for all there was. The buffers are the caller's again when
// it returns.
func (s *Server) pipeBoth(client, endpoint *link, there, back []byte, heard *atomic.Int64, quiet time.Duration) {
	reset := func() {
		client.reset()
		endpoint.reset()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer s.panics.contain(reset)
		defer endpoint.abort()
		pipe(endpoint, client, there, heard, quiet)
	}()
	sound := false
	defer func() {
		if !sound {
			reset()
		}
		client.abort()
		endpoint.abort()
		<-ended
	}()
	pipe(client, endpoint, back, heard, quiet)
	sound = true
}

// pipe passes bytes one way. Silence counts only when the other way, which
// shares heard, is silent too.
func pipe(to, from *link, buf []byte, heard *atomic.Int64, quiet time.Duration) {
	for {
		from.allowRead(quiet)
		n, err := from.Read(buf)
		from.got += int64(n)
		now := from.clock.about()
		switch {
		case n > 0:
			heard.Store(int64(now))
			if to.write(buf[:n], quiet) != nil {
				return
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && now-time.Duration(heard.Load()) < quiet && !from.isAborted():
			from.readBy = 0
		case err != nil:
			return
		}
	}
}
