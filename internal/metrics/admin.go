// Package metrics is the admin address: what it tells of a process, to monitoring
// and to health checks.
//
// It counts nothing itself: proxies and the core do, and know nothing of who
// reads their figures. It decides nothing either, and what it tells is never
// secret.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Options are what an admin address tells.
type Options struct {
	// Health answers GET /healthz.
	Health http.Handler
	// Collector are the process's own figures, beside those of its runtime.
	Collector prometheus.Collector
	// Version is that of the process.
	Version string
	Logger  *slog.Logger
}

// Bounds of a server that anybody in the same network may ask.
const (
	scrapes       = 2 // at a time; more are answered with 503
	scrapeLimit   = 20 * time.Second
	connLimit     = 64
	requestLimit  = 5 * time.Second
	stopLimit     = time.Second
	maxHeaderSize = 8 << 10 // bytes
)

// Handler answers GET /metrics in the formats of Prometheus, and GET /healthz.
func Handler(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(o.Version), o.Collector)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapes, Timeout: scrapeLimit, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}))
	mux.Handle("GET /healthz", o.Health)
	return mux
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "interlock_build_info", Help: "The version of this process.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
}

// Serve answers on a listener until ctx ends, and closes it.
func Serve(ctx context.Context, listener net.Listener, o Options) error {
	server := &http.Server{
		Handler: Handler(o), ReadTimeout: requestLimit, WriteTimeout: scrapeLimit + requestLimit, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeaderSize, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		if server.Shutdown(bounded) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(netutil.LimitListener(listener, connLimit))
	if stop() {
		return fmt.Errorf("serving the admin address %s: %w", listener.Addr(), err)
	}
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
