package nginx

import (
	"path"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/logformat"
)

// upstreamTries bounds how many endpoints one request is tried at.
const upstreamTries = 5

// main writes what stands outside of http.
func (f *file) main() {
	o, out := &f.options, &f.out
	out.buf.WriteString("# Written by Interlock for its current routing table; changes made here are lost.\n")
	out.taken = directiveNames(operatorDirectives(o.GlobalOptions))
	if f.says("User") {
		out.setting("user", f.user()...)
	}
	if f.says("PidPath") {
		out.setting("pid", quoted(o.PidPath))
	}
	if o.WorkerProcesses == 0 {
		out.setting("worker_processes", keyword("auto"))
	} else {
		out.setting("worker_processes", number(o.WorkerProcesses))
	}
	out.setting("worker_rlimit_nofile", number(o.RLimitNoFile))
	out.setting("worker_shutdown_timeout", duration(o.shutdownTimeout()))
	out.directive("error_log", quoted(o.ErrorLogPath), keyword("warn"))
	// The agent listens on standard error for why a reload failed; without one
	// the container's log has it, wherever ErrorLogPath leads.
	out.directive("error_log", keyword("stderr"), keyword("emerg"))
	f.loadStream()
	out.raw(o.GlobalOptions)
	if !out.taken["events"] {
		out.block("events", nil, func() {
			out.directive("worker_connections", number(o.MaxConnections))
		})
	}
	out.taken = nil
}

// says reports whether the file says what the key is for: stock images differ in
// the users and folders that they have, and each was built with its own.
func (f *file) says(key string) bool {
	_, given := f.given[key]
	return given || !f.agentless
}

func (f *file) user() []argument {
	var args []argument
	for _, word := range strings.Fields(f.options.User) {
		args = append(args, quoted(word))
	}
	return args
}

// http writes what holds for all servers.
func (f *file) http() {
	o, out := &f.options, &f.out
	raw := operatorDirectives(append(splitLines(o.SSLOpts), o.HTTPOptions...))
	out.taken, f.operatorHeaders = directiveNames(raw), headerDirectives(raw, "proxy_set_header")
	out.setting("default_type", keyword("text/plain"))
	out.setting("server_tokens", keyword("off"))
	f.serverNamesHash()
	f.clients()
	f.logs()
	f.tls()
	f.upstreams()
	for _, h := range commonHeaders {
		f.requestHeader(h[0], h[1])
	}
	f.requestHeader("Connection", `""`)
	if !o.HideInfoHeaders {
		f.responseHeaders()
	}
	f.trusts = out.taken[trustedAuthorities] || f.authorities != ""
	if f.plan.http2() {
		f.upstreamsHTTP2(raw)
	}
	out.raw(o.HTTPOptions)
	f.variables()
	out.taken = nil
}

// serverNamesHash sizes the hash so that the longest name fits and nginx finds
// a good table quickly.
func (f *file) serverNamesHash() {
	f.out.setting("server_names_hash_bucket_size", number(f.nameBucket()))
	f.out.setting("server_names_hash_max_size", number(max(512, powerOfTwo(4*len(f.plan.hosts)))))
}

func (f *file) nameBucket() int {
	longest := 0
	for _, h := range f.plan.hosts {
		longest = max(longest, len(h.name))
	}
	for _, h := range f.plan.passthrough {
		longest = max(longest, len(h.name))
	}
	return f.options.hashBucketSize(longest)
}

// hashBucketSize has room for three names of the greatest length. A name takes
// a pointer, a length and itself.
func (o *Options) hashBucketSize(longest int) int {
	const pointer = 8
	entry := pointer + (longest+2+pointer-1)/pointer*pointer
	return max(powerOfTwo(3*entry+pointer), 128, o.ServerNamesHashBucketSize)
}

func powerOfTwo(atLeast int) int {
	n := 1
	for n < atLeast {
		n *= 2
	}
	return n
}

// clients writes how requests are read.
func (f *file) clients() {
	o, out := &f.options, &f.out
	out.setting("keepalive_timeout", duration(o.KeepaliveTimeout))
	if o.KeepaliveRequests > 0 {
		out.setting("keepalive_requests", number(o.KeepaliveRequests))
	}
	if o.ClientHeaderTimeout > 0 {
		out.setting("client_header_timeout", duration(o.ClientHeaderTimeout))
	}
	if o.ClientSendTimeout > 0 {
		out.setting("send_timeout", duration(o.ClientSendTimeout))
	}
	out.setting("client_max_body_size", size(o.ClientMaxBodySize))
	out.setting("client_body_buffer_size", size(o.ClientBodyBufferSize))
	out.setting("client_body_timeout", duration(o.ClientBodyTimeout))
	out.setting("client_header_buffer_size", size(o.ClientHeaderBufferSize))
	out.setting("large_client_header_buffers", number(o.LargeClientHeaderBuffers.Number), size(o.LargeClientHeaderBuffers.Size))
	out.setting("underscores_in_headers", toggle(o.UnderscoresInHeaders))
	// A stock image has folders of its own.
	if !f.agentless {
		out.tempPaths(f.tempDir)
	}
}

// tempPaths says where nginx keeps what does not fit into memory. It makes all
// of these folders when it starts, used or not.
func (w *writer) tempPaths(dir string) {
	w.setting("client_body_temp_path", quoted(dir+"/body"))
	w.setting("proxy_temp_path", quoted(dir+"/proxy"))
	w.setting("fastcgi_temp_path", quoted(dir+"/fastcgi"))
	w.setting("uwsgi_temp_path", quoted(dir+"/uwsgi"))
	w.setting("scgi_temp_path", quoted(dir+"/scgi"))
}

func (f *file) logs() {
	o, out := &f.options, &f.out
	out.raw([]string{"log_format main " + o.MainLogFormat, "log_format trace " + o.TraceLogFormat})
	if o.AccessLogFormat == "json" {
		out.raw([]string{"log_format json " + logformat.JSONBody})
	}
	out.setting("access_log", f.accessLog(o.AccessLogFormat)...)
}

// accessLog is where and how requests are logged.
func (f *file) accessLog(format string) []argument {
	if format == "off" {
		return []argument{keyword("off")}
	}
	return []argument{quoted(f.options.AccessLogPath), keyword(format)}
}

// upstreams writes how apps are spoken to.
func (f *file) upstreams() {
	o, out := &f.options, &f.out
	out.setting("proxy_http_version", keyword(o.HTTPVersion))
	out.setting("proxy_connect_timeout", duration(o.ConnectTimeout))
	out.setting("proxy_send_timeout", duration(o.SendTimeout))
	out.setting("proxy_read_timeout", duration(o.ReadTimeout))
	// A machine that is gone while it works on a request is noticed; after how long
	// is the kernel's affair. Where the core keeps the proxies it has that set.
	out.setting("proxy_socket_keepalive", toggle(true))
	out.setting("proxy_redirect", keyword("off"))
	if f.authorities != "" {
		out.setting(trustedAuthorities, quoted(path.Base(f.authorities)))
		out.setting("proxy_ssl_verify_depth", number(maxIssuers))
	}
	// What may change something and may have reached an app is never sent
	// twice: nginx retries it only where the connection itself failed.
	out.setting("proxy_next_upstream", keyword("error"), keyword("timeout"))
	out.setting("proxy_next_upstream_tries", number(upstreamTries))
	out.setting("proxy_next_upstream_timeout", duration(upstreamTries*max(o.ConnectTimeout, time.Second)))
}

// commonHeaders are what apps are told of every request.
var commonHeaders = [][2]keyword{
	{"Host", "$requested_host"},
	{"X-Real-IP", "$remote_addr"},
	{"X-Forwarded-For", "$proxy_add_x_forwarded_for"},
	{"X-Forwarded-Proto", "$scheme"},
	{"X-Request-Id", "$request_id"},
}

// requestHeader writes a header that apps are told, unless the operator sets
// it: nginx would send both.
func (f *file) requestHeader(name, value keyword) {
	if !sets(f.operatorHeaders, name) {
		f.out.directive("proxy_set_header", name, value)
	}
}

// infoHeader is what clients are told, on errors too.
type infoHeader struct {
	name  keyword
	value argument
}

func (f *file) infoHeaders() []infoHeader {
	return []infoHeader{
		{"x-request-id", keyword("$request_id")},
		{"x-proxy-id", keyword("$hostname")},
		{"x-server-info", literal(f.serverInfo)},
		{"x-upstream-addr", keyword("$upstream_addr")},
		// The time until the answer's header: how long the whole answer takes is
		// not known when headers go out.
		{"x-upstream-response-time", keyword("$upstream_header_time")},
	}
}

// responseHeaders writes what clients are told. The app's own headers of these
// names are left out, so that each is there once.
func (f *file) responseHeaders() {
	for _, h := range f.infoHeaders() {
		f.out.directive("proxy_hide_header", h.name)
		f.out.directive("add_header", h.name, h.value, keyword("always"))
	}
}
