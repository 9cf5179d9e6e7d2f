package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interlock-lb/interlock/internal/core"
)

// Core tells what a core does.
func Core(c *core.Core) prometheus.Collector { return coreCollector{c} }

type coreCollector struct{ core *core.Core }

var (
	coreSource     = describe("core_source_healthy", "1 while Swarm can be read, else 0.")
	corePasses     = describe("core_passes_seconds", "Readings of Swarm that were acted on: tables built, services kept; and how long that took.")
	coreTables     = describe("core_tables_published_total", "Tables that differed from the one before.")
	coreTable      = describe("core_table_info", "The version of the table that a service cluster is to serve.", "cluster", "version")
	coreGeneration = describe("core_table_generation", "The generation of that table; it grows over all clusters.", "cluster")
	coreRendered   = describe("core_table_rendered", "1 if the cluster's extension has rendered that table, else 0.", "cluster")
	coreProblems   = describe("core_problems", "What somebody asked for and did not get, as in the log.", "kind")
	coreProxies    = describe("core_proxies", "Proxies by what is known of them: current, outdated, refusing what they were given, or unreachable.", "cluster", "state")
)

// Describe says that the metrics are to be found out by collecting: which are
// there depends on the clusters.
func (coreCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of now.
func (c coreCollector) Collect(to chan<- prometheus.Metric) {
	f, s := c.core.Figures(), sink(to)
	s.gauge(coreSource, asNumber(f.SourceHealthy))
	s <- prometheus.MustNewConstSummary(corePasses, f.Passes, f.PassTime.Seconds(), nil)
	s.counter(coreTables, float64(f.Published))
	for _, t := range f.Clusters {
		s.gauge(coreTable, 1, t.Name, t.Version)
		s.gauge(coreGeneration, float64(t.Generation), t.Name)
		s.gauge(coreRendered, asNumber(t.Rendered), t.Name)
	}
	for _, p := range f.Problems {
		s.gauge(coreProblems, float64(p.Count), string(p.Kind))
	}
	for _, p := range f.Proxies {
		s.gauge(coreProxies, float64(p.Count), p.Cluster, p.State)
	}
}

func asNumber(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
