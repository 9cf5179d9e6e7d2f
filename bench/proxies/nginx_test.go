package proxies

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
)

const nginxHead = `
worker_processes 1; daemon off; pid %[1]s/pid; error_log stderr error; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	keepalive_requests 100000000; keepalive_timeout 75s; client_max_body_size 0; sendfile on;
`

// startApps starts one nginx that stands for all apps: 100 bytes, or 1 MB at
// /large; /upload reads what it is sent before it answers.
func startApps(b *testing.B, apps []string) {
	folder := b.TempDir()
	check(b, os.WriteFile(filepath.Join(folder, "large"), []byte(strings.Repeat("x", 1<<20)), 0o600))
	text := nginxHead
	for _, a := range apps {
		text += fmt.Sprintf(`server {
	listen %[1]s backlog=4096;
	location / { return 200 "%[2]s"; }
	location = /large { root %[3]s; }
	location = /upload { client_body_buffer_size 2m; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_method GET; proxy_pass http://%[1]s/; }
}
`, a, strings.Repeat("x", 100), folder)
	}
	runNginx(b, "apps", clientCore, text+"}\n", apps[0], false)
}

// startNginx has what Interlock's renderer writes for a request, and is tuned
// for content: none of it waits in files.
func startNginx(b *testing.B, s *scene) *process {
	addr := freePorts(b, 1)[0]
	text := nginxHead + "upstream app { zone app 64k; keepalive 512; keepalive_requests 100000000; keepalive_timeout 4s;\n"
	for _, a := range s.apps {
		text += "server " + a + ";\n"
	}
	listen := addr + " backlog=4096 default_server"
	if s.secure {
		chain, key, _ := s.certificateFiles(b)
		listen += fmt.Sprintf(" ssl http2; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate %s; ssl_certificate_key %s", chain, key)
	}
	text += fmt.Sprintf(`}
	proxy_http_version 1.1; proxy_redirect off; proxy_next_upstream error timeout;
	proxy_request_buffering off; proxy_max_temp_file_size 0;
	proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_set_header X-Real-IP $remote_addr;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
	add_header x-request-id $request_id always; add_header x-proxy-id $hostname always; add_header x-server-info "interlock/bench" always;
	add_header x-upstream-addr $upstream_addr always; add_header x-upstream-response-time $upstream_header_time always;
	server { listen %s; location / { proxy_pass http://app; } }
}
`, listen)
	return runNginx(b, "nginx", proxyCore, text, addr, s.secure)
}

// runNginx runs a configuration that has %[1]s where a folder is to be.
func runNginx(b *testing.B, name, core, text, addr string, secure bool) *process {
	folder := b.TempDir()
	path := filepath.Join(folder, "nginx.conf")
	check(b, os.WriteFile(path, fmt.Appendf(nil, text, folder), 0o600))
	return start(b, name, onCore(core, fixture.Program(b, "nginx"), "-c", path, "-g", "user root;"), addr, secure)
}
