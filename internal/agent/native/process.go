package native

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render/native"
)

// endless is longer than any stop grace period.
const endless = 365 * 24 * time.Hour

// process is a server that runs. Reload is called by one goroutine at a time.
type process struct {
	proxy  *Proxy
	server *proxy.Server // nil until the first table
	// options are those of the table that is served.
	options proxy.Options
	doors   map[door]context.CancelFunc

	ctx  context.Context // ends when new requests are to be kept out
	quit context.CancelFunc
	// admitting are the entrances that are served.
	admitting sync.WaitGroup
	done      chan struct{}
	once      sync.Once
}

// door is a port that clients come in by.
type door struct {
	port uint16
	tls  bool
}

func newProcess(p *Proxy) *process {
	ctx, quit := context.WithCancel(context.Background())
	return &process{proxy: p, doors: make(map[door]context.CancelFunc), ctx: ctx, quit: quit, done: make(chan struct{})}
}

// Reload serves the table in place from now on. Ports that it has not are closed
// after that, and new ones opened before.
func (p *process) Reload(ctx context.Context, token string) error {
	c, err := p.proxy.read(os.ReadFile)
	if err != nil {
		return fmt.Errorf("%w: %w", agent.ErrNotAsked, err)
	}
	if c.Token != token {
		return &agent.Refused{Reason: "the table is another than the bundle's token says"}
	}
	opened, err := p.open(ctx, &c.Options)
	if err != nil {
		return fmt.Errorf("%w: %w", agent.ErrNotAsked, err)
	}
	if err := p.serve(c); err != nil {
		for _, l := range opened {
			l.Close()
		}
		return err
	}
	p.admit(opened)
	p.close(&c.Options)
	return nil
}

// serve swaps tables. The options come first: what TLS is made from is theirs.
func (p *process) serve(c *served) error {
	if p.server == nil {
		server := proxy.New(c.options)
		if err := c.swapInto(server); err != nil {
			return err
		}
		p.server, p.options = server, c.options
		p.proxy.server.Store(server)
		// The server lasts until the entrances are closed: who comes in last may be
		// the only client, and a server without any would have ended.
		ctx, end := context.WithCancel(context.Background())
		context.AfterFunc(p.ctx, func() { p.admitting.Wait(); end() })
		go func() {
			// It fails for an entrance of its own only, and has none.
			_ = server.Run(ctx)
			p.once.Do(func() { close(p.done) })
		}()
		return nil
	}
	p.server.Configure(c.options)
	if err := c.swapInto(p.server); err != nil {
		p.server.Configure(p.options)
		return err
	}
	p.options = c.options
	return nil
}

func doorsOf(o *native.Options) []door {
	doors := []door{{o.Port, false}}
	if o.SSLPort != 0 {
		doors = append(doors, door{o.SSLPort, true})
	}
	return doors
}

// open listens on the ports that are not served yet.
func (p *process) open(ctx context.Context, o *native.Options) (map[door]net.Listener, error) {
	opened := make(map[door]net.Listener)
	for _, d := range doorsOf(o) {
		if p.doors[d] != nil {
			continue
		}
		address := net.JoinHostPort(p.proxy.options.Host, strconv.Itoa(int(d.port)))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			for _, l := range opened {
				l.Close()
			}
			return nil, fmt.Errorf("listening for clients: %w", err)
		}
		opened[d] = l
	}
	return opened, nil
}

func (p *process) admit(opened map[door]net.Listener) {
	for d, l := range opened {
		ctx, cancel := context.WithCancel(p.ctx)
		p.doors[d] = cancel
		p.admitting.Go(func() {
			if err := p.server.Admit(ctx, proxy.Entrance{Listener: l, TLS: d.tls}); err != nil {
				p.proxy.options.Logger.Error("a port is no longer served; starting anew", "port", d.port, "error", err)
				p.Kill()
			}
		})
	}
}

// close stops taking clients on ports that are wanted no longer.
func (p *process) close(o *native.Options) {
	wanted := doorsOf(o)
	for d, cancel := range p.doors {
		if !slices.Contains(wanted, d) {
			cancel()
			delete(p.doors, d)
		}
	}
}

// Quit lets running requests finish.
func (p *process) Quit() {
	if p.server != nil {
		p.server.Part()
	}
	p.quit()
	if p.server == nil {
		p.once.Do(func() { close(p.done) })
	}
}

// Kill ends all connections.
func (p *process) Kill() {
	p.Quit()
	if p.server != nil {
		p.server.Cut()
	}
}

// Done is closed when no request is served any more and the ports are free.
func (p *process) Done() <-chan struct{} { return p.done }
