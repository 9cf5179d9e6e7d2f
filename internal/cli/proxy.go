package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/pki"
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
		Short: "Stand beside a proxy in its container and apply the bundles that the core delivers",
	}
	proxy.AddCommand(p.nginxProxyCommand())
	return proxy
}

func (p *process) nginxProxyCommand() *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{Use: "nginx", Short: "Run nginx", Args: cobra.NoArgs}
	configPath := p.env[core.EnvConfigPath]
	if configPath == "" {
		configPath = "/etc/nginx/nginx.conf"
	}
	cmd.Flags().StringVar(&o.listen, "listen", ":"+strconv.Itoa(core.AgentPort), "`ADDRESS` on which the core reaches the agent; also GET /healthz")
	cmd.Flags().StringVar(&o.identity, "identity", core.IdentityFile, "PEM `FILE` with the proxy's identity")
	cmd.Flags().StringVar(&o.state, "state", core.StateFolder, "`FOLDER` that keeps the last good bundle")
	cmd.Flags().StringVar(&o.config, "config", configPath, "where nginx's configuration `FILE` stands (default: $"+core.EnvConfigPath+")")
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.runNginx(ctx, o) })
	return cmd
}

func (p *process) runNginx(ctx context.Context, o proxyOptions) error {
	log := p.logger()
	children := agent.NewChildren()
	proxy, err := agentnginx.New(agentnginx.Options{
		Binary: "nginx", ConfigPath: o.config, StatusSocket: nginx.StatusSocket, TempDir: nginx.TempDir,
		Children: children, Stdout: os.Stdout, Logger: log,
	})
	if err != nil {
		return err
	}
	a := agent.New(agent.Options{
		Proxy: proxy, Folders: []string{path.Dir(o.config), path.Dir(nginx.StatusSocket)}, StateDir: o.state, Logger: log,
	})
	return p.runAgent(ctx, o, a, children)
}

// runAgent serves the agent's port for as long as the agent runs: while the
// proxy finishes its requests the core can still see it.
func (p *process) runAgent(ctx context.Context, o proxyOptions, a *agent.Agent, children *agent.Children) error {
	identity, err := pki.LoadIdentity(o.identity)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("the agent's port: %w", err)
	}
	log := p.logger()
	log.Info("agent started", "version", version, "listen", listener.Addr().String())
	server := rpc.NewAgentServer(rpc.AgentServerOptions{Agent: a, Identity: identity, Health: a.HealthHandler(), Logger: log})

	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer stop()
		return a.Run(ctx)
	})
	group.Go(func() error { return server.Serve(serving, listener) })
	if os.Getpid() == 1 {
		group.Go(func() error { return children.Reap(serving) })
	}
	return group.Wait()
}

// proxyTLS is how the core dials the proxies of a cluster.
func proxyTLS(identity *pki.Identity) func(cluster string) *tls.Config {
	return func(cluster string) *tls.Config { return identity.ClientConfig(proxyName(cluster)) }
}
