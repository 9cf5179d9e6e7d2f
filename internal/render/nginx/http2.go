package nginx

import (
	"path"
	"strings"
	"time"
)

// upstreamsHTTP2 writes how apps are spoken to that speak HTTP/2. nginx does that
// with its module for gRPC, whose directives are others than those for HTTP/1.1:
// what the operator says with raw about the one is said for the other too.
func (f *file) upstreamsHTTP2(raw []operatorDirective) {
	o, out := &f.options, &f.out
	out.setting("grpc_connect_timeout", duration(o.ConnectTimeout))
	out.setting("grpc_send_timeout", duration(o.SendTimeout))
	out.setting("grpc_read_timeout", duration(o.ReadTimeout))
	out.setting("grpc_socket_keepalive", toggle(true))
	out.setting("grpc_next_upstream", keyword("error"), keyword("timeout"))
	out.setting("grpc_next_upstream_tries", number(upstreamTries))
	out.setting("grpc_next_upstream_timeout", duration(upstreamTries*max(o.ConnectTimeout, time.Second)))
	theirs := append(headerDirectives(raw, "grpc_set_header"), f.operatorHeaders...)
	for _, h := range commonHeaders {
		if !sets(theirs, h[0]) {
			out.directive("grpc_set_header", h[0], h[1])
		}
	}
	if !o.HideInfoHeaders {
		for _, h := range f.infoHeaders() {
			out.directive("grpc_hide_header", h.name)
		}
	}
	f.trustsHTTP2 = out.taken[grpc(trustedAuthorities)]
	for _, d := range f.operatorHeaders {
		if !perConnection(d) {
			out.raw([]string{grpc(d.text)})
		}
	}
	for _, d := range raw {
		if d.words[0] == trustedAuthorities && !f.trustsHTTP2 {
			f.trustsHTTP2 = true
			out.raw([]string{grpc(d.text)})
		}
	}
	if f.authorities != "" && !f.trustsHTTP2 {
		f.trustsHTTP2 = true
		out.directive(keyword(grpc(trustedAuthorities)), quoted(path.Base(f.authorities)))
		out.setting("grpc_ssl_verify_depth", number(maxIssuers))
	}
}

// grpc is what the module for gRPC calls a directive, or what begins with one.
func grpc(directive string) string { return "grpc_" + strings.TrimPrefix(directive, "proxy_") }

// perConnection says that a header is about a connection of HTTP/1.1: HTTP/2 has
// none of those, and apps refuse requests with them.
func perConnection(d operatorDirective) bool {
	switch strings.ToLower(d.words[1]) {
	case "connection", "upgrade", "keep-alive", "transfer-encoding":
		return true
	}
	return false
}

// forwardHTTP2 sends what comes to a location to a pool that speaks HTTP/2.
func (f *file) forwardHTTP2(l *location) {
	out, scheme := &f.out, keyword("grpc://")
	if tls := l.pool.tls; tls != nil {
		scheme = "grpcs://"
		out.directive("grpc_ssl_server_name", toggle(true))
		out.directive("grpc_ssl_name", keyword("$host"))
		out.directive("grpc_ssl_verify", toggle(f.verifies(tls)))
	}
	// A request may be a conversation, in which the client listens for a while, and
	// which may go on for ever. nginx keeps nothing of it.
	out.directive("client_body_timeout", duration(max(f.options.ClientBodyTimeout, f.options.ReadTimeout)))
	out.directive("client_max_body_size", size(0))
	if l.strip != "" {
		out.directive("rewrite", restOf(l.strip), keyword("$1"), keyword("break"))
	}
	out.directive("grpc_pass", scheme+keyword(l.pool.name))
}
