package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// Proxy tells what a native proxy does. It is asked for the server at each
// scrape, as it may be started anew; nil: there is none.
func Proxy(server func() *proxy.Server) prometheus.Collector { return proxyCollector{server} }

type proxyCollector struct{ server func() *proxy.Server }

var perRoute = []string{"host", "service"}

// The metrics of a proxy. Labels have the names of the table only.
var (
	proxyRequests  = describe("proxy_requests_total", "Requests by the hundred of their answer's status; none: the client had gone.", "host", "service", "status")
	proxyDurations = describe("proxy_request_duration_seconds", "How long requests took, from their first byte to the last of their answer.", perRoute...)
	proxyInFlight  = describe("proxy_requests_in_flight", "Requests that a service works on now.", perRoute...)
	proxyRetries   = describe("proxy_retries_total", "How often a request was sent again, to another endpoint or over another connection.", perRoute...)
	proxyEjections = describe("proxy_ejections_total", "How often an endpoint was set aside.", perRoute...)
	proxyReceived  = describe("proxy_received_bytes_total", "Bytes from clients, without TLS.", perRoute...)
	proxySent      = describe("proxy_sent_bytes_total", "Bytes to clients, without TLS.", perRoute...)
	proxyPassed    = describe("proxy_passthrough_connections_total", "TLS connections that were handed on as they were.", perRoute...)
	proxyEndpoints = describe("proxy_endpoints", "Endpoints of a service: ready, or set aside after failures.", "service", "state")

	proxyConnections = describe("proxy_connections_total", "Connections of clients: accepted, or refused of those, as there were too many.", "result")
	proxyOpen        = describe("proxy_connections_open", "Connections of clients that are open.")
	proxyDialled     = describe("proxy_upstream_connections_total", "Connections to endpoints that were made.")
	proxyUpstream    = describe("proxy_upstream_connections", "Connections to endpoints: active, or idle until a request comes.", "state")
	proxyPanics      = describe("proxy_panics_total", "Faults of the proxy's own that ended a request and its connection, and nothing else. They are in the log.")
	proxyLogDropped  = describe("proxy_access_log_dropped_total", "Lines of the access log that could not be written in time.")

	proxyTable        = describe("proxy_table_info", "The version of the table that is served.", "version")
	proxyGeneration   = describe("proxy_table_generation", "How many tables this proxy has been given since it began.")
	proxySince        = describe("proxy_table_since_seconds", "When the table that is served began to be, as a Unix time.")
	proxySwaps        = describe("proxy_table_swap_duration_seconds", "How long tables took from being given until they were served.")
	proxySwapsRefused = describe("proxy_table_swaps_refused_total", "Tables that could not be served.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("interlock_"+name, help, labels, nil)
}

// Describe says that the metrics are to be found out by collecting: which are
// there depends on the table.
func (proxyCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of now.
func (c proxyCollector) Collect(to chan<- prometheus.Metric) {
	server := c.server()
	if server == nil {
		return
	}
	f, s := server.Figures(), sink(to)
	for i := range f.Routes {
		s.route(&f.Routes[i])
	}
	for _, service := range f.Services {
		s.gauge(proxyEndpoints, float64(service.Ready), service.Name, "ready")
		s.gauge(proxyEndpoints, float64(service.Aside), service.Name, "aside")
	}
	s.counter(proxyConnections, float64(f.Accepted), "accepted")
	s.counter(proxyConnections, float64(f.Refused), "refused")
	s.gauge(proxyOpen, float64(f.Open))
	s.counter(proxyDialled, float64(f.Dialled))
	s.gauge(proxyUpstream, float64(max(f.UpstreamOpen-f.UpstreamIdle, 0)), "active")
	s.gauge(proxyUpstream, float64(f.UpstreamIdle), "idle")
	s.counter(proxyPanics, float64(f.Panics))
	s.counter(proxyLogDropped, float64(f.LogDropped))
	if f.Served.Version != "" {
		s.gauge(proxyTable, 1, f.Served.Version)
		s.gauge(proxySince, float64(f.Served.Since.UnixMilli())/1000)
	}
	s.gauge(proxyGeneration, float64(f.Served.Generation))
	s.durations(proxySwaps, f.Swaps)
	s.counter(proxySwapsRefused, float64(f.SwapsRefused))
}

// route sends what is known of one host and service.
func (s sink) route(r *proxy.RouteFigures) {
	for class, n := range r.Classes {
		if n == 0 {
			continue
		}
		status := "none"
		if class > 0 {
			status = strconv.Itoa(class) + "xx"
		}
		s.counter(proxyRequests, float64(n), r.Host, r.Service, status)
	}
	s.durations(proxyDurations, r.Took, r.Host, r.Service)
	s.gauge(proxyInFlight, float64(r.Running), r.Host, r.Service)
	s.counter(proxyReceived, float64(r.Received), r.Host, r.Service)
	s.counter(proxySent, float64(r.Sent), r.Host, r.Service)
	if r.Service != "" {
		s.counter(proxyRetries, float64(r.Retries), r.Host, r.Service)
		s.counter(proxyEjections, float64(r.Ejections), r.Host, r.Service)
	}
	if r.Passed > 0 {
		s.counter(proxyPassed, float64(r.Passed), r.Host, r.Service)
	}
}

// sink takes metrics.
type sink chan<- prometheus.Metric

func (s sink) counter(d *prometheus.Desc, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}

func (s sink) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s sink) durations(d *prometheus.Desc, of proxy.Durations, labels ...string) {
	buckets, count := make(map[float64]uint64, len(of.Bounds)), uint64(0)
	for i, bound := range of.Bounds {
		count += of.Counts[i]
		buckets[bound.Seconds()] = count
	}
	count += of.Counts[len(of.Bounds)]
	s <- prometheus.MustNewConstHistogram(d, count, of.Sum.Seconds(), buckets, labels...)
}
