package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/metrics"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/rpc"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/swarmkit"
)

// runFlags are those of interlock run.
type runFlags struct {
	config       string
	authority    string
	socket       string
	admin        string
	removalGrace time.Duration
}

func (p *process) runCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the core: read Swarm, keep the extensions and proxies, deliver routes",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&flags.config, "config", "c", "/config.toml", "configuration `FILE`")
	cmd.Flags().StringVar(&flags.authority, "authority", "",
		"PEM `FILE` with the certificate and key that sign the identities of all parts (default: one that Interlock makes and keeps in Swarm)")
	cmd.Flags().StringVar(&flags.socket, "control-socket", controlSocket,
		"SwarmKit's control socket `FILE`, on which changes are seen at once; used if its folder is there")
	adminFlag(cmd, &flags.admin)
	cmd.Flags().DurationVar(&flags.removalGrace, "removal-grace", core.RemovalGrace,
		"how long the services of an extension that is not configured any more stay after nothing needs them")
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return p.runCore(ctx, flags) })
	return cmd
}

func (p *process) runCore(ctx context.Context, flags runFlags) error {
	log, started := p.logger(), time.Now()
	s, err := loadSettings(flags.config)
	if err != nil {
		return err
	}
	for _, notice := range s.Notices() {
		log.Info("notice", "message", notice)
	}
	swarm, err := dialSwarm(ctx, s, log)
	if err != nil {
		return err
	}
	defer swarm.Close()
	authority, err := findAuthority(ctx, swarm, flags.authority, log)
	if err != nil {
		return err
	}
	parts, err := newParts(core.Options{
		Settings: s, Source: source(swarm, flags.socket, templates(s), log), Applier: swarm, Issuer: authority,
		Container: ownContainer(log), RemovalGrace: flags.removalGrace, Logger: log,
	}, authority, started)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.ListenAddr)
	if err != nil {
		return fmt.Errorf("ListenAddr %s: %w", s.ListenAddr, err)
	}
	log.Info("core started", "version", version, "listen", listener.Addr().String(), "docker", s.DockerURL)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return parts.server.Serve(ctx, listener) })
	group.Go(func() error { return parts.deliverer.Run(ctx) })
	group.Go(func() error { return parts.core.Run(ctx) })
	group.Go(func() error {
		keepAdmin(ctx, flags.admin, metrics.Options{
			Health: coreHealth(parts.core), Collector: metrics.Core(parts.core), Version: version, Logger: log,
		})
		return nil
	})
	group.Go(func() error { return keepIdentity(ctx, parts.identity, authority, log) })
	return group.Wait()
}

func dockerOptions(s *settings.Settings, log *slog.Logger) docker.Options {
	return docker.Options{
		URL: s.DockerURL, CACert: s.TLSCACert, Cert: s.TLSCert, Key: s.TLSKey, AllowInsecure: s.AllowInsecure,
		PollInterval: s.PollInterval, Configs: templates(s), Logger: log,
	}
}

// templates are the names of the Docker configs with custom templates.
func templates(s *settings.Settings) []string {
	var names []string
	for _, e := range s.Extensions {
		if e.Template != "" && !slices.Contains(names, e.Template) {
			names = append(names, e.Template)
		}
	}
	return names
}

// dialSwarm waits for a Swarm manager's API where waiting can help.
func dialSwarm(ctx context.Context, s *settings.Settings, log *slog.Logger) (*docker.Client, error) {
	swarm, err := docker.Dial(ctx, dockerOptions(s, log))
	if err != nil {
		return nil, err
	}
	check := func() (struct{}, error) {
		err := swarm.Check(ctx)
		if unready := (*docker.Unready)(nil); errors.As(err, &unready) && !unready.Retryable {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	delays := backoff.NewExponentialBackOff()
	delays.MaxInterval = 15 * time.Second
	_, err = backoff.Retry(ctx, check, backoff.WithBackOff(delays), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			log.Warn("Docker cannot be used yet, trying again", "error", err, "in", wait.Round(time.Millisecond))
		}))
	if err != nil {
		swarm.Close()
		return nil, err
	}
	return swarm, nil
}

// controlSocket is where the engine of a manager has it.
const controlSocket = "/var/run/docker/swarm/control.sock"

// source prefers the control socket where its folder has been mounted. The
// socket itself may be missing for a while, as when the engine is started anew.
func source(swarm *docker.Client, socket string, configs []string, log *slog.Logger) core.Source {
	if _, err := os.Stat(filepath.Dir(socket)); err != nil {
		log.Debug("no control socket, so the docker api is read", "error", err)
		return swarm
	}
	stream := swarmkit.New(swarmkit.Options{Socket: socket, Root: swarm.TrustRoot, Configs: configs, Logger: log})
	return core.Prefer(stream, swarm, log)
}

// authorityLimit is how long managers may be unable to answer, as while they
// elect a leader, before the core gives up and leaves it to Swarm to start anew.
const authorityLimit = time.Minute

func findAuthority(ctx context.Context, swarm *docker.Client, file string, log *slog.Logger) (*pki.Authority, error) {
	find := func() (*pki.Authority, error) {
		authority, err := core.FindAuthority(ctx, swarm, file, time.Now())
		if err != nil && file != "" {
			err = backoff.Permanent(err)
		}
		return authority, err
	}
	return backoff.Retry(ctx, find, backoff.WithMaxElapsedTime(authorityLimit),
		backoff.WithNotify(func(err error, wait time.Duration) {
			log.Warn("no authority yet, trying again", "error", err, "in", wait.Round(time.Millisecond))
		}))
}

// parts are what a core process consists of.
type parts struct {
	core      *core.Core
	server    *rpc.TableServer
	deliverer *delivery.Deliverer
	identity  *pki.Identity
}

func newParts(options core.Options, authority *pki.Authority, started time.Time) (*parts, error) {
	issued, err := authority.Issue(pki.Name{Role: pki.RoleCore}, time.Now(), pki.IssuedLifetime)
	if err != nil {
		return nil, fmt.Errorf("issuing the core's identity: %w", err)
	}
	identity, err := pki.NewIdentity(issued)
	if err != nil {
		return nil, fmt.Errorf("the core's identity: %w", err)
	}
	sign := func(name pki.Name, request []byte) ([]byte, error) {
		return authority.Sign(request, name, time.Now(), pki.IssuedLifetime)
	}
	deliverer := delivery.New(delivery.Options{
		Epoch:   uint64(max(started.UnixNano(), 0)),
		TLS:     proxyTLS(identity),
		Sign:    func(cluster string, request []byte) ([]byte, error) { return sign(proxyName(cluster), request) },
		RenewAt: pki.RenewAt,
		Logger:  options.Logger,
	})
	options.Deliverer = deliverer
	c := core.New(options)
	server := rpc.NewTableServer(rpc.TableServerOptions{Tables: c.Tables(), Identity: identity, Sign: sign, Logger: options.Logger})
	return &parts{core: c, server: server, deliverer: deliverer, identity: identity}, nil
}

// ownContainer is empty outside of a container, which the core then explains
// as far as it matters.
func ownContainer(log *slog.Logger) string {
	id, err := docker.SelfContainerID()
	if err != nil {
		log.Debug("not in a container", "error", err)
	}
	return id
}

func proxyName(cluster string) pki.Name { return pki.Name{Role: pki.RoleProxy, Cluster: cluster} }

// renewalPause is the least time between two renewals of the core's identity:
// near the authority's own end they would come ever faster.
const renewalPause = time.Hour

// keepIdentity renews the core's own identity, which it can sign itself, until
// ctx ends.
func keepIdentity(ctx context.Context, identity *pki.Identity, authority *pki.Authority, log *slog.Logger) error {
	for {
		timer := time.NewTimer(max(time.Until(identity.RenewAt()), renewalPause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := renewOwn(identity, authority); err != nil {
			log.Error("the core's identity cannot be renewed", "error", err, "expires", identity.Expires())
		}
	}
}

func renewOwn(identity *pki.Identity, authority *pki.Authority) error {
	request, err := identity.RequestRenewal()
	if err != nil {
		return err
	}
	certificate, err := authority.Sign(request, identity.Name(), time.Now(), pki.IssuedLifetime)
	if err != nil {
		return err
	}
	return identity.CompleteRenewal(certificate)
}
