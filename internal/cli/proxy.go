package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// proxyOptions are the flags of every kind of proxy.
type proxyOptions struct {
	listen, identity, state, config string
}

func (p *process) proxyCommand() *cobra.Command {
	proxy := &cobra.Command{
		Use:   "proxy",
		Short: "Run a proxy, and apply the bundles that the core delivers",
	}
	proxy.AddCommand(p.nativeProxyCommand(), p.nginxProxyCommand())
	return proxy
}

func (p *process) nginxProxyCommand() *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{Use: "nginx", Short: "Run nginx", Args: cobra.NoArgs}
	configPath := p.env[core.EnvConfigPath]
	if configPath == "" {
		configPath = "/etc/nginx/nginx.conf"
	}
	p.agentFlags(cmd, &o)
	cmd.Flags().StringVar(&o.config, "config", configPath, "where nginx's configuration `FILE` stands (default: $"+core.EnvConfigPath+")")
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.runNginx(ctx, o) })
	return cmd
}

// agentFlags are those of every kind.
func (p *process) agentFlags(cmd *cobra.Command, o *proxyOptions) {
	cmd.Flags().StringVar(&o.listen, "listen", ":"+strconv.Itoa(core.AgentPort), "`ADDRESS` on which the core reaches the agent; also GET /healthz")
	cmd.Flags().StringVar(&o.identity, "identity", core.IdentityFile, "PEM `FILE` with the proxy's identity")
	cmd.Flags().StringVar(&o.state, "state", core.StateFolder, "`FOLDER` that keeps the last good bundle")
}

func (p *process) runNginx(ctx context.Context, o proxyOptions) error {
	if p.env[core.EnvAgent] == core.NoAgent {
		return agentnginx.Become("nginx", o.config)
	}
	log := p.logger()
	children := agent.NewChildren()
	proxy, err := agentnginx.New(agentnginx.Options{
		Binary: "nginx", ConfigPath: o.config, StatusSocket: nginx.StatusSocket, TempDir: nginx.TempDir,
		Children: children, Stdout: os.Stdout, Logger: log,
	})
	if err != nil {
		return err
	}
	i := &mountedIdentity{file: o.identity}
	a := agent.New(agent.Options{
		Proxy: proxy, Folders: []string{path.Dir(o.config), path.Dir(nginx.StatusSocket)}, Main: o.config, SensitiveDir: render.SensitiveDir,
		StateDir: o.state, StorageKey: i.storageKey, Logger: log,
	})
	return p.runAgent(ctx, agentPort{listen: o.listen, agent: a, identity: i, log: log}, children)
}

// mountedIdentity is the identity in a file, which is read until that succeeds
// and then never again: the identity is renewed in memory only.
type mountedIdentity struct {
	file string

	mu     sync.Mutex
	loaded *pki.Identity // nil: not yet
}

func (m *mountedIdentity) get() (_ *pki.Identity, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded == nil {
		m.loaded, err = pki.LoadIdentity(m.file)
	}
	return m.loaded, err
}

// storageKey is for the last good bundle. Swarm keeps the identity in memory, so
// that the volume tells nothing without a running task.
func (m *mountedIdentity) storageKey() ([]byte, error) {
	identity, err := m.get()
	if err != nil {
		return nil, err
	}
	return identity.StorageKey("last good bundle")
}

// runAgent runs the agent, and beside it for as long what the proxy can do
// without: the agent's port, on which the core still sees it while the proxy
// finishes its requests, and the burial of orphans.
func (p *process) runAgent(ctx context.Context, port agentPort, children *agent.Children) error {
	port.log.Info("agent started", "version", version)
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { port.keep(beside) })
	if os.Getpid() == 1 {
		group.Go(func() { children.Reap(beside, port.log) })
	}
	return port.agent.Run(ctx)
}

const (
	portRetry = 250 * time.Millisecond // before the agent's port is tried again
	// longestPortRetry is what that grows to, and how long the port must have
	// been served for it to begin anew.
	longestPortRetry = 15 * time.Second
)

// keep serves the agent's port until ctx ends. What prevents that is logged and
// tried again: the proxy goes on with what it has.
func (p *agentPort) keep(ctx context.Context) {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = portRetry, longestPortRetry
	for {
		began := time.Now()
		err := p.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= longestPortRetry {
			delays.Reset()
		}
		delay := min(delays.NextBackOff(), longestPortRetry)
		p.log.Error("the core cannot reach this agent, trying again", "error", err, "in", delay.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// agentPort is where the core reaches the agent.
type agentPort struct {
	listen   string
	agent    *agent.Agent
	identity *mountedIdentity
	knock    func(context.Context, netip.AddrPort) bool // as the server's
	log      *slog.Logger
}

// serve returns when the port cannot be served, or nil when ctx has ended.
func (p *agentPort) serve(ctx context.Context) error {
	identity, err := p.identity.get()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", p.listen)
	if err != nil {
		return fmt.Errorf("the agent's port: %w", err)
	}
	p.log.Info("the core can reach this agent", "listen", listener.Addr().String())
	server := rpc.NewAgentServer(rpc.AgentServerOptions{
		Agent: p.agent, Identity: identity, Health: p.agent.HealthHandler(), Knock: p.knock, Logger: p.log,
	})
	return server.Serve(ctx, listener)
}

// proxyTLS is how the core dials the proxies of a cluster.
func proxyTLS(identity *pki.Identity) func(cluster string) *tls.Config {
	return func(cluster string) *tls.Config { return identity.ClientConfig(proxyName(cluster)) }
}
