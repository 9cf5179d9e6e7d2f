package nginx

import (
	"strings"
	"time"
)

const (
	// idleUpstreams is how many idle connections to a pool a worker keeps.
	idleUpstreams = 32
	// idleUpstreamTimeout is shorter than the five seconds after which many
	// app servers close an idle connection: a request sent into one that is
	// just being closed would be lost.
	idleUpstreamTimeout = 4 * time.Second
	// An endpoint takes less than 1 KiB of a zone, the zone itself less than 32.
	zoneBase        = 32 // KiB
	zoneForEndpoint = 1  // KiB
)

// The pages are keywords with their quotes: constants, and nginx reads the
// line breaks in them.
const (
	noHostPage     keyword = `"503 Service Unavailable\n\nNo service is configured for this host name.\n"`
	noPathPage     keyword = `"503 Service Unavailable\n\nNo service is configured for this path.\n"`
	noEndpointPage keyword = `"503 Service Unavailable\n\nThe service for this address has no running task.\n"`
)

func (f *file) upstream(p *pool) {
	out := &f.out
	out.block("upstream", []argument{keyword(p.name)}, func() {
		zone := max(f.options.UpstreamZoneSize, zoneBase+zoneForEndpoint*len(p.endpoints))
		out.directive("zone", keyword(p.name), size(zone<<10))
		if f.options.IPHash {
			out.directive("ip_hash")
		}
		for _, e := range p.endpoints {
			out.directive("server", endpoint(e))
		}
		// HTTP/1.0 ends the connection with each answer.
		if f.options.HTTPVersion != "1.0" {
			out.directive("keepalive", number(idleUpstreams))
			out.directive("keepalive_timeout", duration(idleUpstreamTimeout))
		}
	})
}

// defaultServer answers for the hosts that no service claims. IPv4 only: where
// the kernel has no IPv6, an IPv6 address to listen on fails the whole file.
func (f *file) defaultServer() {
	out := &f.out
	out.block("server", nil, func() {
		out.directive("listen", number(f.port), keyword("default_server"))
		out.directive("server_name", keyword("_"))
		if f.plan.fallback == nil {
			out.directive("access_log", quoted(f.options.AccessLogPath), keyword("main"))
			f.answer("/", noHostPage)
			return
		}
		f.forward("/", f.plan.fallback)
	})
}

func (f *file) virtualHost(h host) {
	out := &f.out
	out.block("server", nil, func() {
		out.directive("listen", number(f.port))
		out.directive("server_name", hostName(h.name))
		hasRoot := false
		for _, l := range h.locations {
			hasRoot = hasRoot || l.prefix == ""
			f.location(l)
		}
		if !hasRoot {
			f.answer("/", noPathPage)
		}
	})
}

// location sends a path and all below it to a pool: /app and /app/x, but not
// /apple. The exact location also keeps nginx from redirecting /app to /app/.
func (f *file) location(l location) {
	if l.prefix != "" {
		f.forward(l.prefix, l.pool, keyword("="))
	}
	f.forward(l.prefix+"/", l.pool)
}

func (f *file) forward(path string, p *pool, modifier ...argument) {
	if len(p.endpoints) == 0 {
		f.answer(path, noEndpointPage, modifier...)
		return
	}
	f.out.block("location", append(modifier, pathPrefix(path)), func() {
		f.out.directive("proxy_pass", keyword("http://"+p.name))
	})
}

func (f *file) answer(path string, page keyword, modifier ...argument) {
	f.out.block("location", append(modifier, pathPrefix(path)), func() {
		f.out.directive("return", number(503), page)
	})
}

// statusServer is where the agent asks which bundle is served. Only whoever
// may enter the container can reach the socket.
func (f *file) statusServer(token string) {
	out := &f.out
	out.block("server", nil, func() {
		out.directive("listen", quoted("unix:"+f.statusSocket))
		out.directive("access_log", keyword("off"))
		out.block("location", []argument{keyword("="), pathPrefix(StatusPath)}, func() {
			out.directive("return", number(200), literal(token))
		})
	})
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
