package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/material"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/render/nginx/template"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// renderers make the renderer for each kind of proxy, from the file with a custom
// template, which may be missing.
var renderers = map[string]func(templateFile string, log *slog.Logger) (extension.Renderer, error){
	"native": nativeRenderer,
	"nginx":  nginxRenderer,
}

// nativeRenderer has no use for a template.
func nativeRenderer(string, *slog.Logger) (extension.Renderer, error) { return &native.Memory{}, nil }

func nginxRenderer(templateFile string, log *slog.Logger) (extension.Renderer, error) {
	builtin := nginx.Renderer{ServerInfo: serverInfo()}
	text, err := readTemplate(templateFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &nginx.Memory{Renderer: builtin}, nil
	case err != nil:
		return nil, fmt.Errorf("reading the custom template: %w", err)
	}
	log.Info("rendering with a custom template", "file", templateFile, "bytes", len(text))
	return template.New(builtin, templateFile, text), nil
}

// maxTemplate is the greatest size of a template in bytes; Docker's own limit
// for a config lies below it.
const maxTemplate = 1 << 20

func readTemplate(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxTemplate+1))
	if err == nil && len(text) > maxTemplate {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxTemplate)
	}
	return string(text), err
}

func (p *process) extensionCommand() *cobra.Command {
	var endpoint, identity, templateFile string
	cmd := &cobra.Command{
		Use:   "extension [KIND]",
		Short: "Render the routes of a service cluster for one kind of proxy (nginx if none is named)",
		Args:  cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&endpoint, "core", p.env[core.EnvCore], "`HOST:PORT` of the core (default: $"+core.EnvCore+")")
	cmd.Flags().StringVar(&identity, "identity", core.IdentityFile, "PEM `FILE` with the extension's identity")
	cmd.Flags().StringVar(&templateFile, "template", core.TemplateFile, "`FILE` with a custom template, used if it is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kind := "nginx"
		if len(args) == 1 {
			kind = args[0]
		}
		makeRenderer, known := renderers[kind]
		if !known {
			return fmt.Errorf("there is no extension for %q; there are: %s", kind, strings.Join(kinds(), ", "))
		}
		return running(func(ctx context.Context, _ []string) error {
			renderer, err := makeRenderer(templateFile, p.logger())
			if err != nil {
				return err
			}
			return p.runExtension(ctx, kind, renderer, endpoint, identity)
		})(cmd, args)
	}
	return cmd
}

func kinds() []string {
	return slices.Sorted(maps.Keys(renderers))
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
	return extension.New(extension.Options{
		Core: client, Renderer: renderer, Materials: material.Folder(render.MountedDir), Identity: identity, Logger: log,
	}).Run(ctx)
}
