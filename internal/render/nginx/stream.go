package nginx

import (
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// stream writes what happens to connections that are not opened here: layer 4.
// Each TLS connection is looked into for the name that its client asks for. Those
// with a certificate go on to the http block through a socket of our own, after
// a line with the client's address. The others would not understand that line,
// and proxy_protocol holds for all that a server takes: they go through a second
// server, which takes it off.
func (f *file) stream() {
	p, out := f.plan, &f.out
	if len(p.passthrough) == 0 && len(f.options.TCPOptions) == 0 {
		return
	}
	out.block("stream", nil, func() {
		out.taken = directiveNames(operatorDirectives(f.options.TCPOptions))
		defer func() { out.taken = nil }()
		if len(p.passthrough) > 0 {
			out.setting("proxy_connect_timeout", duration(f.options.ConnectTimeout))
			out.setting("proxy_timeout", duration(max(websocketIdle, f.options.ReadTimeout)))
			out.setting("proxy_socket_keepalive", toggle(true))
			f.mapHash(len(p.passthrough) + len(p.hosts))
		}
		out.raw(f.options.TCPOptions)
		if len(p.passthrough) == 0 {
			return
		}
		for _, pool := range p.streamPools {
			f.streamUpstream(pool)
		}
		f.ways()
		out.block("server", nil, func() {
			out.directive("listen", number(f.sslPort))
			out.directive("ssl_preread", toggle(true))
			out.directive("proxy_protocol", toggle(true))
			out.directive("proxy_pass", keyword("$tls_way"))
		})
		out.block("server", nil, func() {
			out.directive("listen", quoted("unix:"+f.passthroughSocket()), keyword("proxy_protocol"))
			out.directive("ssl_preread", toggle(true))
			out.directive("proxy_pass", keyword("$passthrough_pool"))
		})
	})
}

// ways maps the name that a client asks for to where its connection goes.
func (f *file) ways() {
	p, out := f.plan, &f.out
	here, through := quoted("unix:"+f.tlsSocket()), quoted("unix:"+f.passthroughSocket())
	out.block("map", []argument{keyword("$ssl_preread_server_name"), keyword("$tls_way")}, func() {
		out.directive("hostnames")
		out.directive("default", here)
		for _, h := range p.passthrough {
			if h.pool == nil {
				out.entry(mapKey(h.name), here)
				continue
			}
			out.entry(mapKey(h.name), through)
		}
		// An exact name goes before the wildcard that it is below.
		for _, name := range p.kept {
			out.entry(mapKey(name), here)
		}
	})
	out.block("map", []argument{keyword("$ssl_preread_server_name"), keyword("$passthrough_pool")}, func() {
		out.directive("hostnames")
		for _, h := range p.passthrough {
			if h.pool != nil {
				out.entry(mapKey(h.name), keyword(h.pool.name))
			}
		}
	})
}

func (f *file) streamUpstream(p *pool) {
	out := &f.out
	out.block("upstream", []argument{keyword(p.name)}, func() {
		zone := max(f.options.UpstreamZoneSize, zoneBase+zoneForEndpoint*len(p.servers))
		out.directive("zone", keyword(p.name), size(zone<<10))
		switch {
		case p.affinity.ClientAddress, f.options.IPHash && p.balance == route.BalanceDefault:
			out.directive("hash", keyword("$proxy_protocol_addr"), keyword("consistent"))
		case p.balance == route.BalanceLeastConn:
			out.directive("least_conn")
		}
		for _, s := range p.servers {
			f.server(s)
		}
	})
}

// loadStream loads the module for layer 4 where it is not built in: Debian puts
// a file that does so here, and other builds have none, which is no fault.
func (f *file) loadStream() {
	if len(f.plan.passthrough) == 0 && len(f.options.TCPOptions) == 0 {
		return
	}
	for _, d := range operatorDirectives(f.options.GlobalOptions) {
		text := strings.Join(d.words, " ")
		if d.words[0] == "load_module" && strings.Contains(text, "stream_module") || d.words[0] == "include" && strings.Contains(text, "modules-enabled") {
			return
		}
	}
	f.out.directive("include", quoted("/etc/nginx/modules-enabled/*.conf"))
}
