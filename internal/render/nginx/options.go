package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/logformat"
)

// Options are the keys of [Extensions.NAME.Config] for nginx, typed.
type Options struct {
	User            string // a user, or a user and a group
	PidPath         string
	WorkerProcesses int // 0: one for each CPU ("auto")
	RLimitNoFile    int
	MaxConnections  int // of one worker

	ConnectTimeout, SendTimeout, ReadTimeout time.Duration

	// WorkerShutdownTimeout is how long a worker of an older configuration may go on
	// with its requests; 0: as long as ReadTimeout.
	WorkerShutdownTimeout time.Duration

	KeepaliveTimeout       time.Duration // of idle clients; 0: no keep-alive
	KeepaliveRequests      int           // of one connection; 0: what nginx does by itself
	ClientBodyTimeout      time.Duration
	ClientHeaderTimeout    time.Duration // 0: what nginx does by itself
	ClientSendTimeout      time.Duration // 0: what nginx does by itself
	ClientMaxBodySize      int64         // bytes; 0: no limit
	ClientBodyBufferSize   int64         // bytes
	ClientHeaderBufferSize int64         // bytes
	// LargeClientHeaderBuffers is a number of buffers and the size of each in bytes.
	LargeClientHeaderBuffers Buffers
	UnderscoresInHeaders     bool
	// ServerNamesHashBucketSize is a lower bound in bytes; what the longest
	// host name needs is computed.
	ServerNamesHashBucketSize int
	// UpstreamZoneSize is a lower bound in KiB; what the endpoints need is computed.
	UpstreamZoneSize int
	IPHash           bool
	HideInfoHeaders  bool
	HTTPVersion      string // to the apps: "1.0" or "1.1"

	AccessLogPath, ErrorLogPath string
	// MainLogFormat and TraceLogFormat are bodies of log_format: quoted
	// strings and a closing semicolon.
	MainLogFormat, TraceLogFormat string
	AccessLogFormat               string // "main", "trace", "json" or "off"

	SSLCiphers   string
	SSLProtocols []string
	SSLOpts      string // raw lines at http level
	SSLVerify    string // "none", "optional" or "required"
	// SSLBackendAuthorities are the certificates of those who may issue the
	// certificates of tasks, in PEM; empty: nobody may.
	SSLBackendAuthorities   string
	SSLDefaultDHParam       int    // bits; 0: no such key exchange
	SSLDefaultDHParamPath   string // empty: none
	GlobalOptions           []string
	HTTPOptions, TCPOptions []string
}

// Buffers is a number of buffers of a size in bytes.
type Buffers struct {
	Number int
	Size   int64
}

// DefaultOptions are those of an operator who configured nothing.
func DefaultOptions() Options {
	return Options{
		User: "nginx", PidPath: "/var/run/proxy.pid",
		WorkerProcesses: 1, RLimitNoFile: 65535, MaxConnections: 1024,
		ConnectTimeout: 5 * time.Second, SendTimeout: 600 * time.Second, ReadTimeout: 600 * time.Second,
		KeepaliveTimeout: 75 * time.Second, ClientBodyTimeout: 60 * time.Second,
		ClientMaxBodySize: 1 << 20, ClientBodyBufferSize: 8 << 10, ClientHeaderBufferSize: 1 << 10,
		LargeClientHeaderBuffers: Buffers{4, 8 << 10},
		UpstreamZoneSize:         64, HTTPVersion: "1.1",
		AccessLogPath: "/dev/stdout", ErrorLogPath: "/dev/stdout",
		MainLogFormat: logformat.MainBody, TraceLogFormat: logformat.TraceBody, AccessLogFormat: "trace",
		SSLCiphers: "HIGH:!aNULL:!MD5", SSLProtocols: []string{"TLSv1.2", "TLSv1.3"},
		SSLVerify: "required",
	}
}

// maxRequests is the greatest number of requests that a connection may be told
// to serve.
const maxRequests = 1 << 30

// option reads the value of one key into an Options.
type option func(*Options, any) error

// options has every key that this renderer takes. Version, AdminUser and
// AdminPass belong to the reference and have no meaning for nginx.
var options = map[string]option{
	"User":                      text(func(o *Options) *string { return &o.User }),
	"PidPath":                   text(func(o *Options) *string { return &o.PidPath }),
	"WorkerProcesses":           workers,
	"RLimitNoFile":              integer(64, 1<<30, func(o *Options) *int { return &o.RLimitNoFile }),
	"MaxConnections":            integer(16, 1<<24, func(o *Options) *int { return &o.MaxConnections }),
	"ConnectTimeout":            timeout(func(o *Options) *time.Duration { return &o.ConnectTimeout }),
	"SendTimeout":               timeout(func(o *Options) *time.Duration { return &o.SendTimeout }),
	"ReadTimeout":               timeout(func(o *Options) *time.Duration { return &o.ReadTimeout }),
	"WorkerShutdownTimeout":     timeout(func(o *Options) *time.Duration { return &o.WorkerShutdownTimeout }),
	"KeepaliveTimeout":          timeoutOrNone(func(o *Options) *time.Duration { return &o.KeepaliveTimeout }),
	"ClientBodyTimeout":         timeout(func(o *Options) *time.Duration { return &o.ClientBodyTimeout }),
	"ClientHeaderTimeout":       timeout(func(o *Options) *time.Duration { return &o.ClientHeaderTimeout }),
	"ClientSendTimeout":         timeout(func(o *Options) *time.Duration { return &o.ClientSendTimeout }),
	"KeepaliveRequests":         integer(1, maxRequests, func(o *Options) *int { return &o.KeepaliveRequests }),
	"ClientMaxBodySize":         bytesOf(0, func(o *Options) *int64 { return &o.ClientMaxBodySize }),
	"ClientBodyBufferSize":      bytesOf(1, func(o *Options) *int64 { return &o.ClientBodyBufferSize }),
	"ClientHeaderBufferSize":    bytesOf(1, func(o *Options) *int64 { return &o.ClientHeaderBufferSize }),
	"LargeClientHeaderBuffers":  buffers,
	"UnderscoresInHeaders":      boolean(func(o *Options) *bool { return &o.UnderscoresInHeaders }),
	"ServerNamesHashBucketSize": integer(0, 1<<16, func(o *Options) *int { return &o.ServerNamesHashBucketSize }),
	"UpstreamZoneSize":          integer(32, 1<<20, func(o *Options) *int { return &o.UpstreamZoneSize }),
	"IPHash":                    boolean(func(o *Options) *bool { return &o.IPHash }),
	"HideInfoHeaders":           boolean(func(o *Options) *bool { return &o.HideInfoHeaders }),
	"HTTPVersion":               httpVersion,
	"AccessLogPath":             text(func(o *Options) *string { return &o.AccessLogPath }),
	"ErrorLogPath":              text(func(o *Options) *string { return &o.ErrorLogPath }),
	"MainLogFormat":             rawText(func(o *Options) *string { return &o.MainLogFormat }),
	"TraceLogFormat":            rawText(func(o *Options) *string { return &o.TraceLogFormat }),
	"AccessLogFormat":           oneOf([]string{"main", "trace", "json", "off"}, func(o *Options) *string { return &o.AccessLogFormat }),
	"SSLCiphers":                text(func(o *Options) *string { return &o.SSLCiphers }),
	"SSLProtocols":              protocols,
	"SSLOpts":                   rawText(func(o *Options) *string { return &o.SSLOpts }),
	"SSLVerify":                 oneOf([]string{"none", "optional", "required"}, func(o *Options) *string { return &o.SSLVerify }),
	"SSLBackendAuthorities":     authorities,
	"SSLDefaultDHParam":         integer(1024, 16384, func(o *Options) *int { return &o.SSLDefaultDHParam }),
	"SSLDefaultDHParamPath":     textOrNone(func(o *Options) *string { return &o.SSLDefaultDHParamPath }),
	"GlobalOptions":             lines(func(o *Options) *[]string { return &o.GlobalOptions }),
	"HTTPOptions":               lines(func(o *Options) *[]string { return &o.HTTPOptions }),
	"TCPOptions":                lines(func(o *Options) *[]string { return &o.TCPOptions }),
	"Version":                   withoutEffect,
	"AdminUser":                 withoutEffect,
	"AdminPass":                 withoutEffect,
}

// ParseOptions reads the keys of [Extensions.NAME.Config], in the reference's
// spelling, over the defaults. The error lists every key that is not valid.
func ParseOptions(config map[string]any) (Options, error) {
	o := DefaultOptions()
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(config)) {
		read, known := options[key]
		if !known {
			faults = append(faults, fmt.Sprintf("%.80q is not an option of nginx", key))
			continue
		}
		if err := read(&o, config[key]); err != nil {
			faults = append(faults, fmt.Sprintf("%s: %s", key, err))
		}
	}
	if len(faults) > 0 {
		return Options{}, fmt.Errorf("options for nginx: %s", strings.Join(faults, "; "))
	}
	return o, nil
}

// LogFormat is the body of the format that requests are logged in; empty: they
// are not.
func (o *Options) LogFormat() string {
	switch o.AccessLogFormat {
	case "main":
		return o.MainLogFormat
	case "json":
		return logformat.JSONBody
	case "off":
		return ""
	}
	return o.TraceLogFormat
}

// LogFormatWords takes such a body apart, as nginx does.
func LogFormatWords(body string) []string {
	list := operatorDirectives([]string{body})
	if len(list) == 0 {
		return nil
	}
	return list[0].words
}

// shutdownTimeout is how long a worker of an older configuration may live: unless
// the operator says otherwise, as long as the slowest answer that is waited for.
// Without an end, websockets would keep a generation of workers in memory for
// every reload.
func (o *Options) shutdownTimeout() time.Duration {
	if o.WorkerShutdownTimeout > 0 {
		return o.WorkerShutdownTimeout
	}
	return o.ReadTimeout
}
