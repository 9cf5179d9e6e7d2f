// Command interlock-demo is the app that the walkthroughs put behind Interlock.
// It tells which task answered (/ping), shows it in a browser (/), echoes
// websocket messages (/ws), answers late on purpose (/slow) and speaks gRPC (its
// health protocol).
//
// It knows nothing of Interlock or Docker, keeps no state and has no access
// control: it is for trying out routing, not for production.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	os.Exit(exitCode(err, os.Stderr))
}

// run serves the app until ctx ends and the running requests are finished.
// The environment is read through env, which has the shape of os.Getenv.
func run(ctx context.Context, args []string, env func(string) string, stdout io.Writer) error {
	options, err := parseOptions(args, env, stdout)
	if err != nil {
		return err
	}
	instance, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the instance's name: %w", err)
	}
	select {
	case <-time.After(options.listenAfter):
	case <-ctx.Done():
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.listen)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	app := newApp(identity{Instance: instance, Version: options.version, Metadata: options.metadata})
	return newServer(app, options.tls, drainLimit).serve(ctx, listener, stdout)
}

func exitCode(err error, stderr io.Writer) int {
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "interlock-demo: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "interlock-demo: %v\n", err)
		return exitFailure
	}
}
