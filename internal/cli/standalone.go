package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/material"
	"github.com/interlock-lb/interlock/internal/metrics"
	"github.com/interlock-lb/interlock/internal/probe"
	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/settings"
)

// standaloneOptions are the flags of a standalone.
type standaloneOptions struct {
	config, docker, socket, listen, listenTLS, admin, secrets, state, cluster string
	redirectPort                                                              uint16
}

// standalonePoll is how often Swarm is read when nothing announces a change.
const standalonePoll = 3 * time.Second

func (p *process) standaloneCommand() *cobra.Command {
	var o standaloneOptions
	cmd := &cobra.Command{
		Use:   "standalone",
		Short: "Read Swarm and serve clients, all in this process",
		Args:  cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", "", "configuration `FILE` with one extension, of which Config and ServiceCluster count (default: none is needed)")
	f.StringVar(&o.docker, "docker", "", "`URL` of the Docker API of a manager (default: the file's DockerURL, or unix:///var/run/docker.sock)")
	f.StringVar(&o.socket, "control-socket", controlSocket, "SwarmKit's control socket `FILE`, on which changes are seen at once; used if its folder is there")
	f.StringVar(&o.listen, "listen", ":80", "`ADDRESS` for plain HTTP")
	f.StringVar(&o.listenTLS, "listen-tls", ":443", "`ADDRESS` for TLS; empty: none")
	adminFlag(cmd, &o.admin)
	f.Uint16Var(&o.redirectPort, "redirect-port", 443, "`PORT` that clients are redirected to who must speak TLS")
	f.StringVar(&o.secrets, "secrets", render.MountedDir, "`FOLDER` with the secrets that labels name")
	f.StringVar(&o.state, "state", core.StateFolder, "`FOLDER` that keeps the last table, to start with while Swarm cannot be read")
	f.StringVar(&o.cluster, "cluster", "", "service `CLUSTER` to serve (default: the file's, or the default one)")
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.runStandalone(ctx, o) })
	return cmd
}

// standaloneSettings are those of the file, if there is one, and of the flags,
// which go before it.
func standaloneSettings(o standaloneOptions) (*settings.Settings, settings.Extension, error) {
	s, e := &settings.Settings{DockerURL: "unix:///var/run/docker.sock", PollInterval: standalonePoll}, settings.Extension{}
	if o.config != "" {
		read, err := loadSettings(o.config)
		if err != nil {
			return nil, e, err
		}
		if len(read.Extensions) != 1 {
			return nil, e, unusable{fmt.Errorf("%s has %d extensions, and a standalone is one: leave one in it", o.config, len(read.Extensions))}
		}
		s, e = read, read.Extensions[0]
	}
	if o.docker != "" {
		s.DockerURL = o.docker
	}
	if o.cluster != "" {
		e.ServiceCluster = o.cluster
	}
	return s, e, nil
}

func (p *process) runStandalone(ctx context.Context, o standaloneOptions) error {
	log := p.logger()
	s, e, err := standaloneSettings(o)
	if err != nil {
		return err
	}
	serving, err := native.ParseOptions(render.Parameters{Port: e.TargetPort, PublishedSSLPort: o.redirectPort, Config: e.Config})
	if err != nil {
		return unusable{err}
	}
	entrances, err := openEntrances(ctx, o)
	if err != nil {
		return err
	}
	options := agentnative.Serving(&serving)
	options.Logger, options.AccessLog, options.ProxyID, options.ServerInfo = log, p.stdout, hostname(), serverInfo()
	var seen probe.Memory // by the core's loop, for the server
	options.Accepts, options.Accepted = probe.Accepts, seen.Accepted
	stand := &stand{
		server: proxy.New(options), options: options, wallet: extension.NewWallet(material.Folder(o.secrets), log),
		last: agentnative.NewLastTable(o.state, e.ServiceCluster, log), log: log,
	}
	stand.ready = newReadiness(stand.server)
	stand.resume()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		keepAdmin(ctx, o.admin, metrics.Options{
			Health: stand.ready, Collector: metrics.Proxy(func() *proxy.Server { return stand.server }), Version: version, Logger: log,
		})
		return nil
	})
	group.Go(func() error { return p.describeOnSignal(ctx, stand.server.Describe) })
	// Clients get an answer, if only that there is none, while Docker is waited for.
	group.Go(func() error { return stand.server.Run(ctx, entrances...) })
	group.Go(func() error { return stand.last.Run(ctx) })
	group.Go(func() error {
		swarm, err := dialSwarm(ctx, s, log)
		if err != nil {
			return err
		}
		defer swarm.Close()
		stand.ready.waits("Swarm has not been read yet, or shows no task of this container")
		log.Info("standalone started", "version", version, "docker", s.DockerURL, "cluster", e.ServiceCluster)
		standing := core.StandaloneOptions{
			Source: source(swarm, o.socket, nil, log), Cluster: e.ServiceCluster, Container: ownContainer(log), PollInterval: s.PollInterval, Logger: log,
			Serve: stand.serve, Knock: seen.Knock,
		}
		if serving.Shutdown == 0 {
			standing.Grace = stand.endWithin
		}
		return core.NewStandalone(standing).Run(ctx)
	})
	return group.Wait()
}

// stand is what a standalone serves its clients with.
type stand struct {
	server  *proxy.Server
	options proxy.Options
	wallet  *extension.Wallet
	last    *agentnative.LastTable
	ready   *readiness
	log     *slog.Logger
}

// endWithin lets requests finish, when it ends, for as long as Docker waits, but
// for what the process needs itself before it is killed.
func (s *stand) endWithin(grace time.Duration) {
	const ownEnd = time.Second
	s.options.Limits.Shutdown = max(grace-ownEnd, grace/2)
	s.server.Configure(s.options)
}

// resume serves what was served last, until Swarm has been read.
func (s *stand) resume() {
	t, err := s.last.Load()
	if err == nil && t != nil {
		if err = s.server.Swap(t, s.wallet.Open(t, time.Now()).Credentials); err == nil {
			s.log.Info("serving the last table until Swarm has been read", "hosts", len(t.Hosts))
		}
	}
	if err != nil {
		s.log.Warn("the last table cannot be served; clients are told so until Swarm has been read", "error", err)
	}
}

func (s *stand) serve(t *route.Table) (core.Served, error) {
	held := s.wallet.Open(t, time.Now())
	err := s.server.Swap(t, held.Credentials)
	if err == nil {
		s.last.Keep(t)
	} else {
		s.ready.waits("the table could not be served: the log says why")
	}
	return core.Served{Findings: held.Findings, Missing: held.Missing}, err
}

func openEntrances(ctx context.Context, o standaloneOptions) ([]proxy.Entrance, error) {
	var opened []proxy.Entrance
	for _, e := range []struct {
		address string
		tls     bool
	}{{o.listen, false}, {o.listenTLS, true}} {
		if e.address == "" {
			continue
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", e.address)
		if err != nil {
			for _, o := range opened {
				o.Close()
			}
			return nil, fmt.Errorf("listening for clients: %w", err)
		}
		opened = append(opened, proxy.Entrance{Listener: l, TLS: e.tls})
	}
	return opened, nil
}
