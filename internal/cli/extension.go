package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// renderers by the kind of proxy that they render for.
func renderers() map[string]extension.Renderer {
	return map[string]extension.Renderer{
		"nginx": &nginx.Renderer{ServerInfo: serverInfo()},
	}
}

func (p *process) extensionCommand() *cobra.Command {
	var endpoint, identity string
	cmd := &cobra.Command{
		Use:   "extension [KIND]",
		Short: "Render the routes of a service cluster for one kind of proxy (nginx if none is named)",
		Args:  cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&endpoint, "core", p.env[core.EnvCore], "`HOST:PORT` of the core (default: $"+core.EnvCore+")")
	cmd.Flags().StringVar(&identity, "identity", core.IdentityFile, "PEM `FILE` with the extension's identity")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kind := "nginx"
		if len(args) == 1 {
			kind = args[0]
		}
		renderer, known := renderers()[kind]
		if !known {
			return fmt.Errorf("there is no extension for %q; there are: %s", kind, strings.Join(kinds(), ", "))
		}
		return running(func(ctx context.Context, _ []string) error {
			return p.runExtension(ctx, kind, renderer, endpoint, identity)
		})(cmd, args)
	}
	return cmd
}

func kinds() []string {
	var list []string
	for kind := range renderers() {
		list = append(list, kind)
	}
	slices.Sort(list)
	return list
}

func (p *process) runExtension(ctx context.Context, kind string, renderer extension.Renderer, endpoint, identityFile string) error {
	log := p.logger()
	if endpoint == "" {
		// The core restarts this service as soon as it knows its own address.
		log.Warn("waiting to be told where the core is", "variable", core.EnvCore)
		<-ctx.Done()
		return nil
	}
	identity, err := pki.LoadIdentity(identityFile)
	if err != nil {
		return err
	}
	client, err := rpc.DialCore(endpoint, identity)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // the process ends, and the connection with it
	log.Info("extension started", "version", version, "kind", kind, "core", endpoint)
	return extension.New(extension.Options{Core: client, Renderer: renderer, Identity: identity, Logger: log}).Run(ctx)
}
