package nginx

import (
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// websocketIdle is how long a websocket may be silent. Ordinary answers are
// awaited for ReadTimeout.
const websocketIdle = time.Hour

// locations writes what happens at the paths of a host; plain is the host where
// they are for requests without TLS.
func (f *file) locations(list []location, plain *host) {
	hasRoot := false
	for i := range list {
		hasRoot = hasRoot || list[i].path == ""
		if list[i].tlsOnly && plain != nil {
			f.insist(&list[i], plain)
			continue
		}
		f.location(&list[i])
	}
	if !hasRoot {
		f.answer("/", noPathPage)
	}
}

// location sends a path and all below it to a pool: /app and /app/x, but not
// /apple. The exact location also keeps nginx from redirecting /app to /app/ by
// itself, with the port that it listens on in the container.
func (f *file) location(l *location) {
	if l.path != "" {
		if l.strip == l.path && !l.websocket {
			f.addSlash(l)
		} else {
			f.forward(l, l.path, keyword("="))
		}
	}
	f.forward(l, l.path+"/")
}

// insist sends plain requests to where TLS is, if it is.
func (f *file) insist(l *location, h *host) {
	at := func(path string, modifier ...argument) {
		if h.certificate == nil {
			f.answer(path, noCertificatePage, modifier...)
			return
		}
		f.out.block("location", append(modifier, pathPrefix(path)), func() {
			f.out.directive("return", number(302), overTLS(f.publishedSSLPort))
		})
	}
	if l.path != "" {
		at(l.path, keyword("="))
	}
	at(l.path + "/")
}

func (f *file) redirectAll(target argument) {
	f.out.block("location", []argument{pathPrefix("/")}, func() {
		f.out.directive("return", number(302), target)
	})
}

func (f *file) addSlash(l *location) {
	out := &f.out
	out.block("location", []argument{keyword("="), pathPrefix(l.path)}, func() {
		out.directive("absolute_redirect", toggle(false))
		out.directive("return", number(302), slashAdded(l.path))
	})
}

// addSlashUnlessUpgraded is for a rewritten root that is a websocket endpoint
// too: clients follow no redirect when they open a websocket.
func (f *file) addSlashUnlessUpgraded(l *location) {
	out := &f.out
	out.directive("absolute_redirect", toggle(false))
	out.block("if", []argument{keyword(`($websocket_upgrade = "")`)}, func() {
		out.directive("return", number(302), slashAdded(l.path))
	})
}

func (f *file) forward(l *location, path string, modifier ...argument) {
	out, tls := &f.out, l.pool.tls
	switch {
	case len(l.pool.servers) == 0:
		f.answer(path, noEndpointPage, modifier...)
		return
	case tls != nil && f.verifies(tls) && !f.trustsFor(l.pool):
		f.answer(path, notTrustedPage, modifier...)
		return
	}
	out.block("location", append(modifier, pathPrefix(path)), func() {
		if l.pool.http2 {
			f.forwardHTTP2(l)
			return
		}
		if l.websocket {
			if l.strip != "" && l.strip == path {
				f.addSlashUnlessUpgraded(l)
			}
			f.upgrade()
		}
		if tls != nil {
			out.directive("proxy_ssl_server_name", toggle(true))
			out.directive("proxy_ssl_name", keyword("$host"))
			out.directive("proxy_ssl_verify", toggle(f.verifies(tls)))
		}
		out.directive("proxy_pass", upstreamURL{pool: l.pool, strip: l.strip, path: path})
	})
}

// trustedAuthorities is the directive with which operators say whose
// certificates of tasks are good. Without it nginx refuses a file that has one
// verified, and with it all that others are served by.
const trustedAuthorities = "proxy_ssl_trusted_certificate"

// trustsFor reports whether the certificates of a pool's tasks can be verified.
func (f *file) trustsFor(p *pool) bool {
	if p.http2 {
		return f.trustsHTTP2
	}
	return f.trusts
}

func (f *file) verifies(tls *route.TLS) bool {
	if tls.Verify == route.VerifyDefault {
		return f.options.SSLVerify != "none"
	}
	return tls.Verify != route.VerifyNone
}

// upgrade lets requests become websockets, and nothing else: what asks for
// another protocol is passed on as an ordinary request. It is the same at every
// location, and written out but once.
func (f *file) upgrade() {
	out := &f.out
	if f.upgradeText != "" {
		out.buf.WriteString(f.upgradeText)
		return
	}
	start := out.buf.Len()
	out.directive("proxy_http_version", keyword("1.1"))
	out.directive("proxy_read_timeout", duration(max(websocketIdle, f.options.ReadTimeout)))
	out.directive("proxy_send_timeout", duration(max(websocketIdle, f.options.SendTimeout)))
	// A location that sets a header of its own loses those of the http level.
	for _, h := range commonHeaders {
		f.requestHeader(h[0], h[1])
	}
	out.directive("proxy_set_header", keyword("Connection"), keyword("$websocket_connection"))
	out.directive("proxy_set_header", keyword("Upgrade"), keyword("$websocket_upgrade"))
	for _, d := range f.operatorHeaders {
		// Without these two there is no websocket, whatever others get.
		if name := strings.ToLower(d.words[1]); name != "connection" && name != "upgrade" {
			out.raw([]string{d.text})
		}
	}
	f.upgradeText = string(out.buf.Bytes()[start:])
}

func (f *file) answer(path string, page keyword, modifier ...argument) {
	status := number(503)
	if page == notTrustedPage {
		status = 502
	}
	f.out.block("location", append(modifier, pathPrefix(path)), func() {
		f.out.directive("return", status, page)
	})
}

// variables writes what locations and pools refer to.
func (f *file) variables() {
	out := &f.out
	if f.plan.severalCertificates {
		f.mapHash(len(f.plan.hosts)) // before the first map
	}
	// HTTP/1.0 needs no Host.
	out.block("map", []argument{keyword("$http_host"), keyword("$requested_host")}, func() {
		out.directive("default", keyword("$http_host"))
		out.directive(`""`, keyword("$host"))
	})
	if f.upgrades() {
		for _, v := range [][2]keyword{{"$websocket_upgrade", "websocket"}, {"$websocket_connection", "upgrade"}} {
			out.block("map", []argument{keyword("$http_upgrade"), v[0]}, func() {
				out.directive("default", keyword(`""`))
				out.directive("websocket", v[1])
			})
		}
	}
	f.certificates()
	if len(f.plan.cookies) > 0 {
		// Room for several names in a bucket: nginx warns where it finds none.
		out.setting("variables_hash_bucket_size", number(256))
		out.setting("variables_hash_max_size", number(max(1024, powerOfTwo(4*len(f.plan.cookies)))))
	}
	for _, name := range f.plan.cookies {
		out.block("map", []argument{cookieVariable(name), stickyVariable(name)}, func() {
			out.directive("default", cookieVariable(name))
			// Without a cookie every request is one of its own.
			out.directive(`""`, keyword("$request_id"))
		})
	}
}

func (f *file) upgrades() bool {
	for i := range f.plan.hosts {
		if anyWebsocket(f.plan.hosts[i].locations) {
			return true
		}
	}
	return anyWebsocket(f.plan.fallback)
}

func anyWebsocket(list []location) bool {
	for i := range list {
		if list[i].websocket {
			return true
		}
	}
	return false
}
