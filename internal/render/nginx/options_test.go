package nginx

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNoOptionsAreTheDefaults(t *testing.T) {
	got, err := ParseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultOptions(), got); diff != "" {
		t.Error(diff)
	}
}

func TestOptionsAreReadInEveryFormTheyTravelIn(t *testing.T) {
	for _, c := range []struct {
		key  string
		v    any
		want func(*Options)
	}{
		{"WorkerProcesses", "4", func(o *Options) { o.WorkerProcesses = 4 }},
		{"WorkerProcesses", float64(4), func(o *Options) { o.WorkerProcesses = 4 }},
		{"WorkerProcesses", int64(4), func(o *Options) { o.WorkerProcesses = 4 }},
		{"WorkerProcesses", "auto", func(o *Options) { o.WorkerProcesses = 0 }},
		{"ConnectTimeout", int64(600), func(o *Options) { o.ConnectTimeout = 10 * time.Minute }},
		{"ConnectTimeout", "600", func(o *Options) { o.ConnectTimeout = 10 * time.Minute }},
		{"ReadTimeout", "1m 30s", func(o *Options) { o.ReadTimeout = 90 * time.Second }},
		{"KeepaliveTimeout", int64(0), func(o *Options) { o.KeepaliveTimeout = 0 }},
		{"ClientMaxBodySize", "2G", func(o *Options) { o.ClientMaxBodySize = 2 << 30 }},
		{"ClientMaxBodySize", "0", func(o *Options) { o.ClientMaxBodySize = 0 }},
		{"ClientMaxBodySize", float64(512), func(o *Options) { o.ClientMaxBodySize = 512 }},
		{"HTTPVersion", "1.0", func(o *Options) { o.HTTPVersion = "1.0" }},
		{"HTTPVersion", "2", func(*Options) {}},
		{"HTTPVersion", true, func(*Options) {}},
		{"SSLOpts", "", func(*Options) {}},
		{"MainLogFormat", "", func(*Options) {}},
		{"LargeClientHeaderBuffers", "8 16k", func(o *Options) { o.LargeClientHeaderBuffers = Buffers{8, 16 << 10} }},
		{"ClientHeaderTimeout", "5s", func(o *Options) { o.ClientHeaderTimeout = 5 * time.Second }},
		{"ClientSendTimeout", int64(9), func(o *Options) { o.ClientSendTimeout = 9 * time.Second }},
		{"KeepaliveRequests", float64(7), func(o *Options) { o.KeepaliveRequests = 7 }},
		{"AccessLogFormat", "json", func(o *Options) { o.AccessLogFormat = "json" }},
		{"HTTPOptions", []any{"gzip on;"}, func(o *Options) { o.HTTPOptions = []string{"gzip on;"} }},
	} {
		want := DefaultOptions()
		c.want(&want)
		got, err := ParseOptions(map[string]any{c.key: c.v})
		if err != nil {
			t.Errorf("%s = %#v: %v", c.key, c.v, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s = %#v (-want +got):\n%s", c.key, c.v, diff)
		}
	}
}

func TestAnOptionThatIsNotValidIsNamed(t *testing.T) {
	for _, c := range []struct {
		key string
		v   any
	}{
		{"User", ""},
		{"User", "a\nb"},
		{"User", int64(1)},
		{"WorkerProcesses", "many"},
		{"WorkerProcesses", 1.5},
		{"WorkerProcesses", int64(0)},
		{"MaxConnections", int64(1)},
		{"RLimitNoFile", "x"},
		{"ConnectTimeout", "soon"},
		{"ConnectTimeout", int64(0)},
		{"ConnectTimeout", int64(-1)},
		{"ReadTimeout", 1e12},
		{"ReadTimeout", true},
		{"ClientMaxBodySize", "-1"},
		{"ClientMaxBodySize", "1t"},
		{"ClientMaxBodySize", "999999999999g"},
		{"ClientBodyBufferSize", "0"},
		{"LargeClientHeaderBuffers", "8k"},
		{"LargeClientHeaderBuffers", "0 8k"},
		{"LargeClientHeaderBuffers", "4 0"},
		{"IPHash", "yes"},
		{"HTTPOptions", "gzip on;"},
		{"HTTPOptions", []any{int64(1)}},
		{"GlobalOptions", []any{"a\x00b"}},
		{"SSLProtocols", "SSLv3"},
		{"SSLVerify", "maybe"},
		{"MainLogFormat", "\x00"},
		{"UpstreamZoneSize", int64(1)},
		{"ClientTimeout", int64(5)},
		{"KeepaliveRequests", int64(0)},
		{"AccessLogFormat", "xml"},
		{"SSLBackendAuthorities", "no PEM"},
		{"SSLBackendAuthorities", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
		{"SSLBackendAuthorities", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
	} {
		_, err := ParseOptions(map[string]any{c.key: c.v})
		if err == nil || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s = %#v: want an error that names the key, got: %v", c.key, c.v, err)
		}
	}
}

func TestAllInvalidOptionsAreReportedInOneGo(t *testing.T) {
	_, err := ParseOptions(map[string]any{"User": "", "IPHash": "x", "Nonsense": int64(1)})
	for _, key := range []string{"User", "IPHash", "Nonsense"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("want %s in: %v", key, err)
		}
	}
}

func TestALogFormatIsTakenApartAsNginxDoes(t *testing.T) {
	got := LogFormatWords("escape=json\n  'a \"$request\"; '\n  'b\\tc';")
	if diff := cmp.Diff([]string{"escape=json", "a \"$request\"; ", "b\tc"}, got); diff != "" {
		t.Error(diff)
	}
}
