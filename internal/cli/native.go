package cli

import (
	"context"
	"os"
	"path"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
)

func (p *process) nativeProxyCommand() *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{Use: "native", Short: "Serve clients in this process, without another program", Args: cobra.NoArgs}
	p.agentFlags(cmd, &o)
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.runNative(ctx, o) })
	return cmd
}

func (p *process) runNative(ctx context.Context, o proxyOptions) error {
	log := p.logger()
	proxy := agentnative.New(agentnative.Options{
		File: native.File, KeyDir: render.SensitiveDir,
		ProxyID: hostname(), ServerInfo: serverInfo(), AccessLog: p.stdout, Logger: log,
	})
	i := &mountedIdentity{file: o.identity}
	a := agent.New(agent.Options{
		Proxy: proxy, Folders: []string{path.Dir(native.File)}, SensitiveDir: render.SensitiveDir,
		StateDir: o.state, StorageKey: i.storageKey, Logger: log,
	})
	return p.runAgent(ctx, o, a, i, agent.NewChildren())
}

// hostname is the container's, which is how its clients and logs know a proxy.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
