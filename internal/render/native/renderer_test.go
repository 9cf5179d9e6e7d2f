package native_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/logformat"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/native"
	"github.com/interlock-lb/interlock/internal/route"
)

func table() *route.Table {
	secret := route.Material{Name: "shop", ID: "id"}
	return &route.Table{
		Hosts: []route.VirtualHost{
			{Name: "a.test", Credential: &route.Credential{Chain: secret, Key: secret, Asker: "shop"}, Routes: []route.Route{{PathPrefix: "/", TLSOnly: true, Forward: route.Forward{Upstreams: []string{"app"}}}}},
			{Name: "b.test", Credential: &route.Credential{Chain: secret, Key: secret, Asker: "shop"}, Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}}},
		},
		Upstreams: []route.Upstream{{Name: "app", Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Task: "t"}}}},
	}
}

func TestWhatIsRenderedIsReadAgain(t *testing.T) {
	p := render.Parameters{Port: 80, SSLPort: 443, PublishedSSLPort: 8443, Config: map[string]any{"ReadTimeout": 30.0, "MaxConnections": 2048.0, "SSLProtocols": "TLSv1.3", "IPHash": true}}
	pair := render.Pair{Chain: []byte("chain"), Key: []byte("key")}
	c := render.Credentials{"a.test": pair, "b.test": pair}
	b, err := (&native.Renderer{}).Render(table(), p, c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := (&native.Renderer{}).Render(table(), p, c)
	if err != nil || again.Version() != b.Version() {
		t.Errorf("the same input gives another bundle: %v", err)
	}
	if len(b.Files) != 2 || b.Files[0].Path != native.File || b.Files[0].Sensitive || !b.Files[1].Sensitive || b.Files[1].Mode != 0o600 {
		t.Fatalf("got %+v", b.Files)
	}
	read := reads(t, new(native.Reader), b)
	if !reflect.DeepEqual(read.Table, table()) || read.Token != b.Token || read.Keys["a.test"] != b.Files[1].Path || read.Keys["b.test"] != b.Files[1].Path {
		t.Errorf("read: %+v", read)
	}
	if o := read.Options; o.ReadTimeout != 30*time.Second || o.MaxConnections != 2048 || o.MinTLS != 0x304 || o.MaxTLS != 0x304 || !o.IPHash || o.RedirectPort != 8443 || o.Idle != 75*time.Second {
		t.Errorf("options: %+v", o)
	}
}

func TestWhatCannotBeServedIsNotRendered(t *testing.T) {
	for want, p := range map[string]render.Parameters{
		"HitlessServiceUpdate": {Port: 80, Agentless: true},
		"TargetPort":           {},
		"TraceLogFormat: the variable $geoip_city is not known": {Port: 80, Config: map[string]any{"TraceLogFormat": "'$remote_addr $geoip_city';"}},
		"ReadTimeout": {Port: 80, Config: map[string]any{"ReadTimeout": "soon"}},
	} {
		if _, err := (&native.Renderer{}).Render(table(), p, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %s, got %v", want, err)
		}
	}
}

func TestTheFormatThatIsInUseIsTheOperators(t *testing.T) {
	for name, test := range map[string]struct {
		config map[string]any
		pieces int
		escape logformat.Escape
	}{
		"main":                    {map[string]any{"AccessLogFormat": "main", "MainLogFormat": "'$status';"}, 1, logformat.Default},
		"trace is the default":    {map[string]any{"TraceLogFormat": "escape=none '$status ' '$host';"}, 3, logformat.None},
		"others may be for nginx": {map[string]any{"MainLogFormat": "'$geoip_city';", "TraceLogFormat": "'$host';"}, 1, logformat.Default},
		"nothing is logged":       {map[string]any{"AccessLogFormat": "off"}, 0, logformat.Default},
		"an object a line":        {map[string]any{"AccessLogFormat": "json"}, 47, logformat.JSON},
	} {
		o, err := native.ParseOptions(render.Parameters{Port: 80, Config: test.config})
		if err != nil || len(o.Log.Pieces) != test.pieces || o.Log.Escape != test.escape {
			t.Errorf("%s: %v, %+v", name, err, o.Log)
		}
	}
}

func TestEveryLimitIsTheOperators(t *testing.T) {
	config := map[string]any{
		"ClientHeaderTimeout": "1s", "ClientBodyTimeout": "2s", "ClientSendTimeout": "3s", "KeepaliveTimeout": "4s", "KeepaliveRequests": 5.0,
		"MaxConnections": 60.0, "MaxConnectionsPerClient": 7.0, "WebsocketTimeout": "8s", "ShutdownTimeout": 9.0,
		"ClientMaxBodySize": "10k", "TrustedProxies": []any{"10.0.0.0/8", "fd00::1"},
	}
	o, err := native.ParseOptions(render.Parameters{Port: 80, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][2]any{
		"header": {o.HeaderTimeout, time.Second}, "body": {o.BodyTimeout, 2 * time.Second}, "send": {o.SendTimeout, 3 * time.Second},
		"idle": {o.Idle, 4 * time.Second}, "requests": {o.Requests, 5}, "connections": {o.MaxConnections, 60}, "each": {o.ConnectionsEach, 7},
		"websocket": {o.WebsocketTimeout, 8 * time.Second}, "shutdown": {o.Shutdown, 9 * time.Second}, "content": {o.MaxBody, int64(10 << 10)},
		"trusted": {fmt.Sprint(o.Trusted), "[10.0.0.0/8 fd00::1/128]"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", name, got[0], got[1])
		}
	}
}
