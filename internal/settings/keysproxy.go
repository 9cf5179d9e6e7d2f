package settings

import (
	"strings"

	"github.com/interlock-lb/interlock/internal/logformat"
)

// proxies is a set of kinds of proxies.
type proxies uint8

const (
	nginx proxies = 1 << iota
	haproxy
	native
	both  = nginx | haproxy
	every = both | native
)

// String is how the documentation has it.
func (p proxies) String() string {
	switch p {
	case both:
		return "both"
	case every:
		return "all"
	}
	return strings.Join(p.names(), ", ")
}

func (p proxies) names() []string {
	var list []string
	for _, one := range []struct {
		kind proxies
		name string
	}{{nginx, "nginx"}, {haproxy, "HAProxy"}, {native, "native"}} {
		if p&one.kind != 0 {
			list = append(list, one.name)
		}
	}
	return list
}

// optionKeys are the keys of [Extensions.NAME.Config]. The defaults are the
// renderers' to apply; what stands here tells of them.
var optionKeys = []key[options]{
	option("User", nginx, user, "`nginx`", "The user that nginx's workers run as. Without hitless updates an absent key leaves it to the image."),
	option("PidPath", both, filePath, "`/var/run/proxy.pid`", "The file with the number of the proxy's main process. Without hitless updates an absent key leaves it to the image."),
	option("WorkerProcesses", nginx, workers, "`1`", "How many workers nginx runs; `auto` is one for each processor."),
	option("RLimitNoFile", nginx, files, "`65535`", "How many files a worker may have open."),
	option("MaxConnections", every, connections, "`1024`", "How many connections a worker may have at once, those to the apps included."),
	option("ConnectTimeout", every, seconds("5"), "`5`", "How long connecting to an app may take."),
	option("SendTimeout", nginx, seconds("600"), "`600`", "How long an app may take to receive a part of a request."),
	option("ReadTimeout", nginx|native, seconds("600"), "`600`", "How long an app may take to send a part of an answer."),
	option("ClientTimeout", haproxy, seconds("600"), "", "How long a client may be silent."),
	option("ServerTimeout", haproxy, seconds("600"), "", "How long an app may be silent."),
	option("IPHash", nginx|native, boolean, "`false`", "Send requests from the same client address to the same task, for all services."),
	option("HideInfoHeaders", nginx|native, boolean, "`false`", "Leave out the response headers that tell of the proxy and of the task."),
	option("SSLCiphers", both, ciphers, "`HIGH:!aNULL:!MD5`", "The ciphers for TLS with clients, up to TLS 1.2."),
	option("SSLProtocols", every, protocols, "`TLSv1.2 TLSv1.3`", "The TLS versions for clients."),
	option("SSLOpts", both, anyText, "", "Raw options for TLS, the operator's own."),
	option("SSLVerify", every, verify, "`required`", "How the certificate of a task is verified where `ssl_backend_tls_verify` does not say; the authorities are those of SSLBackendAuthorities, or for nginx of `proxy_ssl_trusted_certificate FILE;` in HTTPOptions."),
	option("SSLBackendAuthorities", nginx|native, authorities, "", "The certificates of those who may issue the certificates of tasks, in PEM between `\"\"\"` and `\"\"\"`. A custom template names its own."),
	option("SSLDefaultDHParam", both, dhBits, "nginx: no such key exchange; HAProxy: `1024`", "The least size of Diffie-Hellman parameters in bits. For nginx the group of RFC 7919 with at least as many is taken; the smallest has 2048."),
	option("SSLDefaultDHParamPath", nginx, filePath, "", "A file with Diffie-Hellman parameters."),
	option("WorkerShutdownTimeout", nginx, waitTime, "as ReadTimeout", "How long a worker of an older configuration may go on with running requests, downloads and websockets after a reload, before they are cut off."),
	option("KeepaliveTimeout", nginx|native, idleTime, "`75s`", "How long a client's idle connection is kept; `0` is not at all."),
	option("ClientMaxBodySize", nginx|native, bodySize, "`1m`", "The greatest request body; `0` is no limit. Calls of gRPC have none."),
	option("ClientBodyBufferSize", nginx, bufferSize, "`8k`", "How much of a request body is held in memory."),
	option("ClientHeaderBufferSize", nginx, bufferSize, "`1k`", "The buffer for usual request headers."),
	option("LargeClientHeaderBuffers", nginx, bufferPairs, "`4 8k`", "How many buffers there are for large request headers, and how large; at least 512 bytes each."),
	option("ClientBodyTimeout", nginx|native, waitTime, "`60s`; native: `10s`", "How long a client may take to send a part of a request body."),
	option("ClientHeaderTimeout", nginx|native, waitTime, "`60s`; native: `10s`", "How long a client may take to send the head of a request, once it has begun."),
	option("ClientSendTimeout", nginx|native, waitTime, "`60s`", "How long a client may take nothing of what it is sent."),
	option("KeepaliveRequests", nginx|native, requests, "`1000`; native: `1048576`", "How many requests a client's connection serves."),
	option("MaxConnectionsPerClient", native, perClient, "`16384`", "How many connections a client's address may have at once; others are answered with 503. Many clients may share the address of a proxy or a NAT."),
	option("WebsocketTimeout", native, waitSeconds, "`1h`", "How long a websocket may be silent on both sides. nginx takes `ReadTimeout` for it."),
	option("ShutdownTimeout", native, waitSeconds, "the service's stop grace period less `1s`", "How long requests may take to finish when a standalone ends. In a cluster it is `ProxyStopGracePeriod`."),
	option("TrustedProxies", native, trusted, "`[]`", "The networks of other proxies, such as `[\"10.0.0.0/8\"]`. What they say of their clients, in `X-Forwarded-For` and the like, is passed on; of others it is replaced."),
	option("UnderscoresInHeaders", nginx|native, boolean, "`false`", "Accept request headers with `_` in their names."),
	option("ServerNamesHashBucketSize", nginx, bucketSize, "computed", "The least bucket size of nginx's table of host names; what the longest name needs is computed."),
	option("UpstreamZoneSize", nginx, zoneSize, "`64`", "The least memory that workers share for an upstream; what its endpoints need is computed."),
	option("GlobalOptions", both, lines, "`[]`", "Raw lines for the top of the file, the operator's own."),
	option("HTTPOptions", nginx, lines, "`[]`", "Raw lines for nginx's `http` block, the operator's own."),
	option("TCPOptions", nginx, lines, "`[]`", "Raw lines for nginx's `stream` block, the operator's own; where TLS is passed through, that block also takes the connections of TargetSSLPort."),
	option("DefaultOptions", haproxy, lines, "`[]`", "Raw lines for HAProxy's `defaults` section, the operator's own."),
	option("AccessLogPath", nginx, logPath, "`/dev/stdout`", "Where requests are logged."),
	option("ErrorLogPath", nginx, logPath, "`/dev/stdout`", "Where errors are logged."),
	option("AccessLogFormat", nginx|native, logChoice, "`trace`", "How requests are logged: in the format `trace` or `main`, as one object of JSON a line, or not at all. With `trace`, nginx logs in the format `main` what no service is there for. The native proxy logs on standard output."),
	option("MainLogFormat", nginx|native, logFormat, "", "The log format called `main`. The native proxy knows "+logVariables()+"."),
	option("TraceLogFormat", nginx|native, logFormat, "", "The log format called `trace`; variables as above."),
	option("HTTPVersion", nginx, protocolVersion, "`1.1`", "The HTTP version that is spoken with the apps."),
	void(option("Version", every, anyText, "", "The version of the configuration's layout, of old."), "there is one layout only"),
	option("AdminUser", haproxy, account, "", "The user of HAProxy's statistics page."),
	option("AdminPass", haproxy, password, "", "The password of that user."),
}

// logVariables are those of log formats, as the documentation has them.
func logVariables() string { return "`$" + strings.Join(logformat.Names(), "`, `$") + "`" }
