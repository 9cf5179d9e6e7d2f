// Package cli is the command line: it reads arguments and environment and puts
// the processes together from their parts. What the parts do is not here.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/settings"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong arguments or a configuration that cannot be used
)

// Main runs one command and returns the process's exit code.
func Main(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &process{env: parseEnviron(environ), stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "interlock: %v\n", err)
	return exitCode(err)
}

// failure is an error that happened while a command ran. All other errors come
// from arguments.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// unusable is a configuration that cannot be used, or not even be read.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

func exitCode(err error) int {
	var ran failure
	var config unusable
	if errors.As(err, &ran) && !errors.As(err, &config) {
		return exitFailed
	}
	return exitUsage
}

func loadSettings(file string) (*settings.Settings, error) {
	s, err := settings.Load(file)
	if err != nil {
		return nil, unusable{err}
	}
	return s, nil
}

// process is what the commands share.
type process struct {
	env            map[string]string
	stdin          io.Reader
	stdout, stderr io.Writer
	debug          bool
}

func parseEnviron(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, found := strings.Cut(entry, "="); found {
			env[name] = value
		}
	}
	return env
}

func (p *process) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "interlock",
		Short:         "Layer-7 routing for Docker Swarm",
		Version:       fmt.Sprintf("%s (%s)", version, commit),
		SilenceUsage:  true,
		SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true,
		},
	}
	root.PersistentFlags().BoolVarP(&p.debug, "debug", "D", false, "log more")
	root.AddCommand(p.runCommand(), p.extensionCommand(), p.proxyCommand(), p.standaloneCommand(), p.configCommand(),
		p.installCommand(), p.uninstallCommand(), p.authorityCommand(), p.healthCommand())
	return root
}

// running marks what a command's work fails with, to tell it from wrong
// arguments. A stop that was asked for is a success.
func running(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := work(cmd.Context(), args)
		if err == nil || (cmd.Context().Err() != nil && errors.Is(err, context.Canceled)) {
			return nil
		}
		return failure{err}
	}
}

func (p *process) logger() *slog.Logger {
	level := slog.LevelInfo
	if p.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
}

// serverInfo is what responses carry as x-server-info.
func serverInfo() string {
	return fmt.Sprintf("interlock/%s (%s) %s/%s", version, commit, runtime.GOOS, runtime.GOARCH)
}
