package nginx

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// ExtensionConfig has the keys of [Extensions.NAME.Config] under the names and
// in the notation that they are documented with, absent ones with their
// defaults. Custom templates read it.
type ExtensionConfig struct {
	User            string
	PidPath         string
	WorkerProcesses any // an int, or "auto"
	RLimitNoFile    int
	MaxConnections  int

	ConnectTimeout, SendTimeout, ReadTimeout int // seconds

	WorkerShutdownTimeout, KeepaliveTimeout, ClientBodyTimeout      string // such as "75s"
	ClientHeaderTimeout, ClientSendTimeout                          string // such as "75s"
	KeepaliveRequests                                               int
	ClientMaxBodySize, ClientBodyBufferSize, ClientHeaderBufferSize string // such as "8k"
	LargeClientHeaderBuffers                                        string // such as "4 8k"
	UnderscoresInHeaders                                            bool
	ServerNamesHashBucketSize                                       int // bytes: what the table needs, at least
	UpstreamZoneSize                                                int // KiB
	IPHash, HideInfoHeaders                                         bool
	HTTPVersion                                                     string

	AccessLogPath, ErrorLogPath   string
	AccessLogFormat               string // "main", "trace", "json" or "off"
	MainLogFormat, TraceLogFormat string

	SSLCiphers, SSLProtocols, SSLOpts, SSLVerify string
	SSLDefaultDHParam                            int
	SSLDefaultDHParamPath                        string

	GlobalOptions, HTTPOptions, TCPOptions []string

	// Version, AdminUser and AdminPass have no meaning for nginx.
	Version, AdminUser, AdminPass string
}

// What nginx does by itself (ngx_http_core_module: client_header_timeout,
// send_timeout, keepalive_requests).
const (
	ownTimeout  = time.Minute
	ownRequests = 1000
)

// Documented says the options in the reference's words. The hash bucket size is
// what host names of the given lengths need.
func (o *Options) Documented(longestHost int) ExtensionConfig {
	c := ExtensionConfig{
		User: o.User, PidPath: o.PidPath, WorkerProcesses: o.WorkerProcesses,
		RLimitNoFile: o.RLimitNoFile, MaxConnections: o.MaxConnections,
		ConnectTimeout: seconds(o.ConnectTimeout), SendTimeout: seconds(o.SendTimeout), ReadTimeout: seconds(o.ReadTimeout),
		WorkerShutdownTimeout: written(duration(o.shutdownTimeout())),
		KeepaliveTimeout:      written(duration(o.KeepaliveTimeout)), ClientBodyTimeout: written(duration(o.ClientBodyTimeout)),
		ClientHeaderTimeout: written(duration(cmp.Or(o.ClientHeaderTimeout, ownTimeout))),
		ClientSendTimeout:   written(duration(cmp.Or(o.ClientSendTimeout, ownTimeout))),
		KeepaliveRequests:   cmp.Or(o.KeepaliveRequests, ownRequests),
		ClientMaxBodySize:   written(size(o.ClientMaxBodySize)), ClientBodyBufferSize: written(size(o.ClientBodyBufferSize)),
		ClientHeaderBufferSize:   written(size(o.ClientHeaderBufferSize)),
		LargeClientHeaderBuffers: written(number(o.LargeClientHeaderBuffers.Number)) + " " + written(size(o.LargeClientHeaderBuffers.Size)),
		UnderscoresInHeaders:     o.UnderscoresInHeaders, ServerNamesHashBucketSize: o.hashBucketSize(longestHost),
		UpstreamZoneSize: o.UpstreamZoneSize, IPHash: o.IPHash, HideInfoHeaders: o.HideInfoHeaders, HTTPVersion: o.HTTPVersion,
		AccessLogPath: o.AccessLogPath, ErrorLogPath: o.ErrorLogPath, AccessLogFormat: o.AccessLogFormat, MainLogFormat: o.MainLogFormat, TraceLogFormat: o.TraceLogFormat,
		SSLCiphers: o.SSLCiphers, SSLProtocols: strings.Join(o.SSLProtocols, " "), SSLOpts: o.SSLOpts, SSLVerify: o.SSLVerify,
		SSLDefaultDHParam: o.SSLDefaultDHParam, SSLDefaultDHParamPath: o.SSLDefaultDHParamPath,
		GlobalOptions: slices.Clone(o.GlobalOptions), HTTPOptions: slices.Clone(o.HTTPOptions), TCPOptions: slices.Clone(o.TCPOptions),
	}
	if o.WorkerProcesses == 0 {
		c.WorkerProcesses = "auto"
	}
	return c
}

// written is an argument as it stands in a file. Those of options have been
// checked when they were read.
func written(a argument) string {
	text, _ := a.text()
	return text
}

// seconds rounds up: 0 would mean something else to nginx.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
