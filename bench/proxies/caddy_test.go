package proxies

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startCaddy starts the version that `make bench` builds.
func startCaddy(b *testing.B, s *scene) *process {
	program, err := filepath.Abs("../../build/tools/caddy")
	check(b, err)
	if _, err := exec.LookPath(program); err != nil {
		b.Skipf("`make bench` builds it: %v", err)
	}
	addr := freePorts(b, 1)[0]
	site, certificate := "http://"+addr, ""
	if s.secure {
		_, port, err := net.SplitHostPort(addr)
		check(b, err)
		chain, key, _ := s.certificateFiles(b)
		site, certificate = "https://"+hostName+":"+port, "tls "+chain+" "+key
	}
	path := file(b, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	grace_period 1s
	log default {
		output discard
	}
}
%s {
	%s
	header x-request-id {http.request.uuid}
	header x-proxy-id bench
	header x-server-info interlock/bench
	reverse_proxy %s {
		lb_policy round_robin
		header_up X-Real-IP {remote_host}
		header_up X-Request-Id {http.request.uuid}
		header_down x-upstream-addr {http.reverse_proxy.upstream.hostport}
		header_down x-upstream-response-time {http.reverse_proxy.upstream.latency}
		transport http {
			keepalive 4s
			keepalive_idle_conns 2048
			keepalive_idle_conns_per_host 512
			compression off
		}
	}
}
`, site, certificate, strings.Join(s.apps, " ")))
	c := onCore(proxyCore, program, "run", "--adapter", "caddyfile", "--config", path)
	c.Env = append(os.Environ(), "XDG_DATA_HOME="+b.TempDir(), "XDG_CONFIG_HOME="+b.TempDir())
	return start(b, "Caddy", c, addr, s.secure)
}
