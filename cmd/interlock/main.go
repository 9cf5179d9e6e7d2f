// Command interlock is every process of Interlock: which one follows from its
// first argument.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/interlock-lb/interlock/internal/cli"
)

func main() {
	// SIGQUIT is a stop signal that operators of nginx like to choose.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	code := cli.Main(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
