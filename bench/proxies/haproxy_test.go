package proxies

import (
	"fmt"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
)

func startHAProxy(b *testing.B, s *scene) *process {
	addr := freePorts(b, 1)[0]
	bind := addr + " backlog 4096"
	if s.secure {
		_, _, both := s.certificateFiles(b)
		bind += " ssl crt " + both + " alpn h2,http/1.1"
	}
	text := fmt.Sprintf(`global
	nbthread 1
	maxconn 8192
	# 16 streams of HTTP/2 and more
	tune.h2.max-concurrent-streams 128
defaults
	mode http
	option http-keep-alive
	http-reuse always
	timeout connect 5s
	timeout client 75s
	timeout server 600s
	timeout http-keep-alive 75s
frontend clients
	bind %s
	unique-id-format %%[uuid]
	http-request set-header X-Request-Id %%[unique-id]
	http-request set-header X-Real-IP %%[src]
	http-request set-header X-Forwarded-For %%[src]
	http-request set-header X-Forwarded-Proto %s
	http-response set-header x-request-id %%[unique-id]
	http-response set-header x-proxy-id bench
	http-response set-header x-server-info interlock/bench
	http-response set-header x-upstream-addr %%si:%%sp
	http-response set-header x-upstream-response-time %%Tr
	default_backend apps
backend apps
	balance roundrobin
`, bind, s.scheme())
	for i, a := range s.apps {
		text += fmt.Sprintf("\tserver app-%d %s pool-max-conn 512\n", i, a)
	}
	path := file(b, "haproxy.cfg", text)
	return start(b, "HAProxy", onCore(proxyCore, fixture.Program(b, "haproxy"), "-db", "-f", path), addr, s.secure)
}
