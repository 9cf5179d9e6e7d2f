package proxies

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

func startRelay(b *testing.B, s *scene) *process {
	j := job{Does: "relay", Addr: freePorts(b, 1)[0], Apps: s.apps}
	return start(b, "relay", j.command(b, proxyCore), j.Addr, false)
}

// serveRelay copies the bytes of each client to an app of its own and back, and
// understands nothing of them: less than that no proxy can do.
func serveRelay(ctx context.Context, j *job) error {
	listener, err := net.Listen("tcp", j.Addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for turn := new(atomic.Uint64); ; {
		client, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			app, err := net.Dial("tcp", j.Apps[turn.Add(1)%uint64(len(j.Apps))])
			if err != nil {
				return
			}
			defer app.Close()
			go pass(app, client)
			pass(client, app)
		}()
	}
}

// pass is not io.Copy: the splicing that it does is dearer for what is small.
func pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
