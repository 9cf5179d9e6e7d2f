package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/metrics"
	"github.com/interlock-lb/interlock/internal/proxy"
)

// adminAddress is where processes tell of themselves: reached from the networks
// of their container, and published nowhere. ADR 21 says why.
const adminAddress = ":9090"

func adminFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "admin", adminAddress,
		"`ADDRESS` of GET /metrics and GET /healthz, for the networks of this container; 127.0.0.1:9090: for itself only; empty: none")
}

// keepAdmin serves an admin address until ctx ends; empty: none. What prevents
// that is logged and tried again: the process does its work without.
func keepAdmin(ctx context.Context, address string, o metrics.Options) {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = portRetry, longestPortRetry
	for address != "" {
		err := serveAdmin(ctx, address, o)
		if ctx.Err() != nil {
			return
		}
		delay := min(delays.NextBackOff(), longestPortRetry)
		o.Logger.Error("the admin address is not served, trying again", "error", err, "in", delay.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

func serveAdmin(ctx context.Context, address string, o metrics.Options) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("the admin address: %w", err)
	}
	o.Logger.Info("metrics can be read", "admin", listener.Addr().String())
	return metrics.Serve(ctx, listener, o)
}

// describeOnSignal writes to the log what is being served, for people, whenever
// SIGUSR1 comes, until ctx ends.
func (p *process) describeOnSignal(ctx context.Context, describe func(io.Writer) error) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			if err := describe(p.stderr); err != nil {
				p.logger().Error("the table cannot be written down", "error", err)
			}
		}
	}
}

// readiness answers GET /healthz of a standalone: healthy once a table is served,
// whatever happens afterwards, as it goes on with that one.
type readiness struct {
	server *proxy.Server

	mu  sync.Mutex
	why string // nothing is served
}

func newReadiness(s *proxy.Server) *readiness {
	return &readiness{server: s, why: "Docker's API cannot be used yet: the log says why"}
}

// waits says what a first table waits for. Anybody may ask for it, so that
// details are for the log.
func (r *readiness) waits(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = reason
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	why := r.why
	r.mu.Unlock()
	served := r.server.Served()
	if served.Version == "" {
		answerHealth(w, false, map[string]any{"serving": false, "reason": why})
		return
	}
	answerHealth(w, true, map[string]any{"serving": true, "tableVersion": served.Version, "since": served.Since.UTC()})
}

// coreHealth answers GET /healthz of a core: healthy while it can read Swarm.
func coreHealth(c *core.Core) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		healthy := c.Healthy()
		answerHealth(w, healthy, map[string]any{"readsSwarm": healthy})
	})
}

func answerHealth(w http.ResponseWriter, healthy bool, content map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// Whoever asked has gone if this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(content)
}
