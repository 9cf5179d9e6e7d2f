package native_test

import (
	"context"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/route"
)

// BenchmarkApplyOfOneEndpointOf100000 is one task's change from the bundle to its
// being served, with all that the agent writes down. Staging and the file of what
// was good last are on a disk here.
func BenchmarkApplyOfOneEndpointOf100000(b *testing.B) {
	dir := b.TempDir()
	a := agent.New(agent.Options{
		Proxy:   agentnative.New(agentnative.Options{File: dir + "/run/table.pb", KeyDir: dir + "/keys", Host: ownAddress()}),
		Folders: []string{dir + "/run"}, StateDir: dir + "/state", StorageKey: func() ([]byte, error) { return make([]byte, 32), nil },
		StagingDir: b.TempDir(), SensitiveDir: dir + "/keys", InMemory: func(string) (bool, error) { return true, nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	memory := native.Memory{Renderer: native.Renderer{File: dir + "/run/table.pb", KeyDir: dir + "/keys"}}
	table := crowd(b, "app", 10_000)
	next := *table
	next.Upstreams = slices.Clone(next.Upstreams)
	next.Upstreams[5000].Endpoints = next.Upstreams[5000].Endpoints[1:]
	var bundles []render.Bundle
	for _, t := range []*route.Table{table, &next} {
		bundle, err := memory.Render(t, render.Parameters{Port: 8080}, nil)
		if err != nil {
			b.Fatal(err)
		}
		bundles = append(bundles, bundle)
	}
	if err := a.Apply(ctx, bundles[0], "table"); err != nil {
		b.Fatal(err)
	}
	began, turn := cpuTime(), 0
	for b.Loop() {
		turn++
		if err := a.Apply(ctx, bundles[turn%2], "table"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime()-began)/1e6/float64(turn), "cpu-ms/change")
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails for no process of ours
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
