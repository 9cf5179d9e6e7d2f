package nginx

import (
	"path"
	"time"
)

const (
	// sessionCache has room for some 40,000 sessions (nginx's manual: 4,000 in a
	// MiB).
	sessionCache keyword = "shared:interlock:10m"
	sessionLife          = 24 * time.Hour
)

const noCertificatePage keyword = `"503 Service Unavailable\n\nThis address is served over TLS only, and there is no certificate for it.\n"`

// tls writes the settings that hold for every certificate.
func (f *file) tls() {
	o, out := &f.options, &f.out
	var protocols []argument
	for _, p := range o.SSLProtocols {
		protocols = append(protocols, quoted(p))
	}
	out.setting("ssl_protocols", protocols...)
	out.setting("ssl_ciphers", quoted(o.SSLCiphers))
	if f.plan.tls {
		// Tickets would need a key that is shared and changed; the cache outlives
		// a reload.
		out.setting("ssl_session_cache", sessionCache)
		out.setting("ssl_session_timeout", duration(sessionLife))
		out.setting("ssl_session_tickets", toggle(false))
	}
	switch {
	case o.SSLDefaultDHParamPath != "":
		out.setting("ssl_dhparam", quoted(o.SSLDefaultDHParamPath))
	case f.dhPath != "":
		out.setting("ssl_dhparam", quoted(path.Base(f.dhPath)))
	}
	out.raw(splitLines(o.SSLOpts))
}

// tlsSocket is where TLS connections come in that this nginx has looked into for
// their name, each after a line with the client's address; passthroughSocket is
// for those that are handed through.
func (f *file) tlsSocket() string { return path.Join(f.socketDir(), "tls.sock") }

func (f *file) passthroughSocket() string { return path.Join(f.socketDir(), "passthrough.sock") }

func (f *file) socketDir() string {
	if f.agentless {
		return "/var/run" // which every image has
	}
	return path.Dir(f.statusSocket)
}

// listenTLS writes where a server takes TLS connections.
func (f *file) listenTLS(more ...argument) {
	if len(f.plan.passthrough) == 0 {
		f.out.directive("listen", append([]argument{number(f.sslPort), keyword("ssl"), keyword("http2")}, more...)...)
		return
	}
	f.out.directive("listen", append([]argument{quoted("unix:" + f.tlsSocket()), keyword("ssl"), keyword("http2"), keyword("proxy_protocol")}, more...)...)
	f.out.directive("set_real_ip_from", keyword("unix:"))
	f.out.directive("real_ip_header", keyword("proxy_protocol"))
}

// refusingServers end the handshake for every name that has no certificate. A
// request for such a name on a connection for another one is misdirected
// (RFC 9110, 15.5.20).
func (f *file) refusingServers() {
	out := &f.out
	out.block("server", nil, func() {
		f.listenTLS(keyword("default_server"))
		out.directive("server_name", keyword("_"))
		f.refuse()
	})
	if len(f.plan.refused) == 0 {
		return
	}
	// A wildcard's certificate must not speak for these.
	out.block("server", nil, func() {
		f.listenTLS()
		for _, name := range f.plan.refused {
			out.directive("server_name", hostName(name))
		}
		f.refuse()
	})
}

func (f *file) refuse() {
	f.out.directive("ssl_reject_handshake", toggle(true))
	f.out.directive("return", number(421))
}

func (f *file) secureHost(h *host) {
	out := &f.out
	out.block("server", nil, func() {
		f.listenTLS()
		out.directive("server_name", hostName(h.name))
		out.directive("ssl_certificate", literal(h.certificate.chain))
		out.directive("ssl_certificate_key", literal(h.certificate.key))
		if f.plan.severalCertificates {
			out.block("if", []argument{otherCertificate(h.certificate.id)}, func() {
				out.directive("return", number(421))
			})
		}
		if h.secureTarget != "" {
			f.redirectAll(redirection(h.secureTarget))
			return
		}
		f.locations(h.locations, nil)
	})
}

// certificates says which certificate a connection was opened with, by the name
// that the client asked for.
func (f *file) certificates() {
	if !f.plan.severalCertificates {
		return
	}
	f.out.block("map", []argument{keyword("$ssl_server_name"), keyword("$certificate")}, func() {
		f.out.directive("hostnames")
		f.out.directive("default", keyword(`""`))
		if f.division != nil {
			f.includeNames()
			return
		}
		f.names(f.plan.hosts)
	})
}

// names writes which certificate hosts have.
func (f *file) names(hosts []*host) {
	for _, h := range hosts {
		if h.certificate != nil {
			f.out.entry(mapKey(h.name), quoted(h.certificate.id))
		}
	}
}

// mapHash sizes the tables of maps by host name.
func (f *file) mapHash(names int) {
	f.out.setting("map_hash_bucket_size", number(f.nameBucket()))
	f.out.setting("map_hash_max_size", number(max(2048, powerOfTwo(4*names))))
}
