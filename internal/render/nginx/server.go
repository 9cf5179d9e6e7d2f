package nginx

import (
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
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
	// With TLS its session is kept there too, in a page of 4 KiB.
	zoneForTLSEndpoint = 6 // KiB
)

// The pages are keywords with their quotes: constants, and nginx reads the
// line breaks in them.
const (
	noHostPage     keyword = `"503 Service Unavailable\n\nNo service is configured for this host name.\n"`
	noPathPage     keyword = `"503 Service Unavailable\n\nNo service is configured for this path.\n"`
	noEndpointPage keyword = `"503 Service Unavailable\n\nThe service for this address has no running task.\n"`
	notTrustedPage keyword = `"502 Bad Gateway\n\nThe certificate of the service for this address cannot be verified: the proxy trusts no authority.\n"`
)

func (f *file) upstream(p *pool) {
	out := &f.out
	out.block("upstream", []argument{keyword(p.name)}, func() {
		each := zoneForEndpoint
		if p.tls != nil {
			each = zoneForTLSEndpoint
		}
		zone := max(f.options.UpstreamZoneSize, zoneBase+each*len(p.servers))
		out.directive("zone", keyword(p.name), size(zone<<10))
		// Consistent: where endpoints come and go, few requests change theirs.
		switch {
		case p.affinity.Cookie != "":
			out.directive("hash", stickyVariable(p.affinity.Cookie), keyword("consistent"))
		case p.affinity.ClientAddress:
			out.directive("hash", keyword("$remote_addr"), keyword("consistent"))
		case p.balance == route.BalanceLeastConn:
			out.directive("least_conn")
		case f.options.IPHash && p.balance == route.BalanceDefault:
			out.directive("ip_hash")
		}
		for _, s := range p.servers {
			f.server(s)
		}
		// HTTP/1.0 ends the connection with each answer.
		if p.reuse && (p.http2 || f.options.HTTPVersion != "1.0") {
			out.directive("keepalive", number(idleUpstreams))
			out.directive("keepalive_timeout", duration(idleUpstreamTimeout))
		}
	})
}

func (f *file) server(s server) {
	args := []argument{endpoint(s.addr)}
	if s.weight != 1 {
		args = append(args, keyword("weight="+strconv.Itoa(s.weight)))
	}
	if s.health != "" {
		args = append(args, s.health)
	}
	f.out.directive("server", args...)
}

// defaultServer answers for the hosts that no service claims. IPv4 only: where
// the kernel has no IPv6, an IPv6 address to listen on fails the whole file.
func (f *file) defaultServer() {
	out := &f.out
	out.block("server", nil, func() {
		out.directive("listen", number(f.port), keyword("default_server"))
		out.directive("server_name", keyword("_"))
		if len(f.plan.fallback) == 0 {
			// Here no app is asked, of which other formats tell.
			if f.options.AccessLogFormat == "trace" {
				out.directive("access_log", f.accessLog("main")...)
			}
			f.answer("/", noHostPage)
			return
		}
		f.locations(f.plan.fallback, &host{})
	})
}

func (f *file) virtualHost(h *host) {
	out := &f.out
	out.block("server", nil, func() {
		out.directive("listen", number(f.port))
		out.directive("server_name", hostName(h.name))
		switch {
		case h.target != "":
			f.redirectAll(redirection(h.target))
		case h.handsOn:
			f.redirectAll(overTLS(f.publishedSSLPort))
		default:
			f.locations(h.locations, h)
		}
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
