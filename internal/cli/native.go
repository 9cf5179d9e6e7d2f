package cli

import (
	"context"
	"errors"
	"os"
	"path"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/metrics"
	"github.com/interlock-lb/interlock/internal/probe"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
)

func (p *process) nativeProxyCommand() *cobra.Command {
	var o proxyOptions
	var admin string
	cmd := &cobra.Command{Use: "native", Short: "Serve clients in this process, without another program", Args: cobra.NoArgs}
	p.agentFlags(cmd, &o)
	adminFlag(cmd, &admin)
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.runNative(ctx, o, admin) })
	return cmd
}

func (p *process) runNative(ctx context.Context, o proxyOptions, admin string) error {
	log := p.logger()
	var seen probe.Memory // by the agent, for the proxy
	proxy := agentnative.New(agentnative.Options{
		File: native.File, KeyDir: render.SensitiveDir,
		ProxyID: hostname(), ServerInfo: serverInfo(), AccessLog: p.stdout, Logger: log,
		Accepts: probe.Accepts, Accepted: seen.Accepted,
	})
	i := &mountedIdentity{file: o.identity}
	a := agent.New(agent.Options{
		Proxy: proxy, Folders: []string{path.Dir(native.File)}, Main: native.File, SensitiveDir: render.SensitiveDir,
		StateDir: o.state, StorageKey: i.storageKey, Logger: log,
	})
	// What tells of the proxy goes on while its last requests finish.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	group.Go(func() error {
		keepAdmin(beside, admin, metrics.Options{
			Health: a.HealthHandler(), Collector: metrics.Proxy(proxy.Server), Version: version, Logger: log,
		})
		return nil
	})
	group.Go(func() error { return p.describeOnSignal(beside, proxy.Describe) })
	err := p.runAgent(ctx, agentPort{listen: o.listen, agent: a, identity: i, knock: seen.Knock, log: log}, agent.NewChildren())
	stop()
	return errors.Join(err, group.Wait())
}

// hostname is the container's, which is how its clients and logs know a proxy.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
