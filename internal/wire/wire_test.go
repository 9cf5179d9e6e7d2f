package wire_test

import (
	"io/fs"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

func table() *route.Table {
	return &route.Table{
		Hosts: []route.VirtualHost{
			{Name: "a.example.com", Routes: []route.Route{
				{PathPrefix: "/shop", Rewrite: true, Websockets: []string{"/shop", "/shop/ws"}, Forward: route.Forward{Upstreams: []string{"shop"}, Affinity: route.Affinity{ClientAddress: true}}},
				{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"demo", "demo-v2"}, Affinity: route.Affinity{Cookie: "session"}}},
			}},
			{Name: "b.example.com", Credential: &route.Credential{
				Chain: route.Material{Name: "b.cert", ID: "id1"}, Key: route.Material{Name: "b.key", ID: "id2"}, Asker: "demo",
			}, Routes: []route.Route{{PathPrefix: "/", TLSOnly: true, Websockets: []string{"/", "/ws"}, Forward: route.Forward{Upstreams: []string{"demo"}}}}},
			{Name: "c.example.com", Redirects: []route.Redirect{{Scheme: "http", Target: "https://b.example.com:8443"}, {Scheme: "https", Target: "http://b.example.com"}}},
		},
		Passthrough: []route.Passthrough{
			{Name: "*.p.example.com", Forward: route.Forward{Upstreams: []string{"demo"}}},
			{Name: "a.example.com", Forward: route.Forward{Upstreams: []string{"demo"}, Affinity: route.Affinity{ClientAddress: true}}, RedirectPlain: true},
		},
		Default: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"shop"}, Balance: route.BalanceLeastConn}}},
		Upstreams: []route.Upstream{
			{Name: "demo", Endpoints: []route.Endpoint{
				{Addr: netip.MustParseAddrPort("10.0.0.9:80"), Task: "t1"},
				{Addr: netip.MustParseAddrPort("10.0.0.10:80"), Task: "t2"},
				{Addr: netip.MustParseAddrPort("[fd00::1]:8080"), Task: "t3"},
			}},
			{Name: "demo-v2", Weight: new(0), Endpoints: []route.Endpoint{}},
			{Name: "secret", TLS: &route.TLS{Verify: route.VerifyNone}, Endpoints: []route.Endpoint{}},
			{Name: "shop", TLS: &route.TLS{}, HTTP2: true, Weight: new(5), MaxFails: new(0), FailTimeout: time.Minute, Endpoints: []route.Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.9:80"), Task: "t4"}}},
		},
	}
}

// overTheWire encodes and decodes a message, as gRPC does.
func overTheWire[M proto.Message](t *testing.T, message, empty M) M {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(data, empty); err != nil {
		t.Fatal(err)
	}
	return empty
}

func TestATableArrivesAsItWasSent(t *testing.T) {
	for name, sent := range map[string]*route.Table{"full": table(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			got, err := wire.Table(overTheWire(t, wire.TableMessage(sent), &interlockv1.Table{}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sent, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("sent (-), received (+):\n%s", diff)
			}
			if got.Version() != sent.Version() {
				t.Error("its version has changed")
			}
		})
	}
}

func TestATableThatBreaksAPromiseIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*interlockv1.Table)
		want  string
	}{
		"hosts out of order":        {func(m *interlockv1.Table) { m.Hosts[0], m.Hosts[1] = m.Hosts[1], m.Hosts[0] }, "must be sorted"},
		"a host twice":              {func(m *interlockv1.Table) { m.Hosts[1].Name = m.Hosts[0].Name }, "twice"},
		"a host without a name":     {func(m *interlockv1.Table) { m.Hosts[0].Name = "" }, "no name"},
		"a host without a route":    {func(m *interlockv1.Table) { m.Hosts[0].Routes = nil }, "no route"},
		"the shorter prefix first":  {func(m *interlockv1.Table) { r := m.Hosts[0].Routes; r[0], r[1] = r[1], r[0] }, "longest comes first"},
		"a prefix twice":            {func(m *interlockv1.Table) { m.Hosts[0].Routes[0].PathPrefix = "/" }, "twice"},
		"a prefix without a slash":  {func(m *interlockv1.Table) { m.Hosts[0].Routes[1].PathPrefix = "" }, "begin with /"},
		"a host without anything":   {func(m *interlockv1.Table) { m.Hosts[0].Routes = nil }, "no route and no redirect"},
		"a redirect of FTP":         {func(m *interlockv1.Table) { m.Hosts[2].Redirects[0].Scheme = "ftp" }, "http or https"},
		"a redirect to a path":      {func(m *interlockv1.Table) { m.Hosts[2].Redirects[0].Target += "/x" }, "SCHEME://HOST"},
		"a scheme redirected twice": {func(m *interlockv1.Table) { m.Hosts[2].Redirects[1].Scheme = "http" }, "twice"},
		"a websocket elsewhere":     {func(m *interlockv1.Table) { m.Hosts[0].Routes[0].Websockets = []string{"/shopping"} }, "not below"},
		"websockets out of order":   {func(m *interlockv1.Table) { m.Hosts[1].Routes[0].Websockets = []string{"/ws", "/"} }, "must be sorted"},
		"a cookie that is no name": {func(m *interlockv1.Table) {
			m.Hosts[0].Routes[1].Forward.Affinity = &interlockv1.Forward_Cookie{Cookie: "a-b"}
		}, "letters, digits"},
		"a cookie without a name":   {func(m *interlockv1.Table) { m.Hosts[0].Routes[1].Forward.Affinity = &interlockv1.Forward_Cookie{} }, "letters, digits"},
		"TLS for some":              {func(m *interlockv1.Table) { m.Upstreams[1].Tls = &interlockv1.TLS{} }, "spoken to differently"},
		"HTTP/2 for some":           {func(m *interlockv1.Table) { m.Upstreams[1].Http2 = true }, "spoken to differently"},
		"another verification":      {func(m *interlockv1.Table) { m.Upstreams[3].Tls.Verify = 9 }, "no verification"},
		"too much weight":           {func(m *interlockv1.Table) { *m.Upstreams[3].Weight = 1001 }, "is more than"},
		"unknown balance":           {func(m *interlockv1.Table) { m.DefaultRoutes[0].Forward.Balance = 9 }, "no balance"},
		"two ways to balance":       {func(m *interlockv1.Table) { m.Hosts[0].Routes[0].Forward.Balance = 1 }, "would have no effect"},
		"too many failures":         {func(m *interlockv1.Table) { *m.Upstreams[3].MaxFails = 1e9 }, "is more than"},
		"a fraction of a second":    {func(m *interlockv1.Table) { m.Upstreams[3].FailTimeout.Nanos = 1 }, "whole seconds"},
		"an endless time":           {func(m *interlockv1.Table) { m.Upstreams[3].FailTimeout.Seconds = math.MaxInt64 }, "fail_timeout"},
		"a secret with a path":      {func(m *interlockv1.Table) { m.Hosts[1].Credential.Chain.Name = "../key" }, "not the name of a material"},
		"a hidden secret":           {func(m *interlockv1.Table) { m.Hosts[1].Credential.Key.Name = ".key" }, "not the name of a material"},
		"a secret without a key":    {func(m *interlockv1.Table) { m.Hosts[1].Credential.Key = nil }, "not the name of a material"},
		"a secret without an ID":    {func(m *interlockv1.Table) { m.Hosts[1].Credential.Key.Id = "" }, "no ID"},
		"passthrough out of order":  {func(m *interlockv1.Table) { p := m.Passthrough; p[0], p[1] = p[1], p[0] }, "must be sorted"},
		"passthrough of no name":    {func(m *interlockv1.Table) { m.Passthrough[0].Name = "" }, "no name"},
		"passthrough to nobody":     {func(m *interlockv1.Table) { m.Passthrough[0].Forward = nil }, "nobody"},
		"passthrough and ended TLS": {func(m *interlockv1.Table) { m.Passthrough[1].Name = "b.example.com" }, "a credential too"},
		"passthrough over TLS":      {func(m *interlockv1.Table) { m.Passthrough[0].Forward.Upstreams = []string{"shop"} }, "TLS of its own"},
		"passthrough by cookie": {func(m *interlockv1.Table) {
			m.Passthrough[0].Forward.Affinity = &interlockv1.Forward_Cookie{Cookie: "a"}
		}, "no cookie"},
		"a route to nobody":         {func(m *interlockv1.Table) { m.Hosts[0].Routes[0].Forward = nil }, "nobody"},
		"an unknown upstream":       {func(m *interlockv1.Table) { m.DefaultRoutes[0].Forward.Upstreams[0] = "x" }, `no upstream "x"`},
		"a share counted twice":     {func(m *interlockv1.Table) { m.DefaultRoutes[0].Forward.Upstreams = []string{"demo", "demo"} }, "twice"},
		"upstreams out of order":    {func(m *interlockv1.Table) { m.Upstreams[0], m.Upstreams[1] = m.Upstreams[1], m.Upstreams[0] }, "must be sorted"},
		"an upstream without name":  {func(m *interlockv1.Table) { m.Upstreams[0].Name = "" }, "no name"},
		"endpoints out of order":    {func(m *interlockv1.Table) { e := m.Upstreams[0].Endpoints; e[0], e[1] = e[1], e[0] }, "must be sorted"},
		"an endpoint twice":         {func(m *interlockv1.Table) { e := m.Upstreams[0].Endpoints; e[1] = e[0] }, "twice"},
		"a name for an address":     {func(m *interlockv1.Table) { m.Upstreams[0].Endpoints[0].Address = "host:80" }, "IP:PORT"},
		"an address without a port": {func(m *interlockv1.Table) { m.Upstreams[0].Endpoints[0].Address = "10.0.0.1" }, "IP:PORT"},
		"port 0":                    {func(m *interlockv1.Table) { m.Upstreams[0].Endpoints[0].Address = "10.0.0.1:0" }, "IP:PORT"},
		"more than an address":      {func(m *interlockv1.Table) { m.Upstreams[0].Endpoints[0].Address = "10.0.0.1:80; }" }, "IP:PORT"},
		"an odd spelling":           {func(m *interlockv1.Table) { m.Upstreams[0].Endpoints[0].Address = "10.0.0.1:080" }, "IP:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			message := wire.TableMessage(table())
			message.DefaultRoutes[0].Forward.Upstreams = append([]string(nil), message.DefaultRoutes[0].Forward.Upstreams...)
			test.spoil(message)
			_, err := wire.Table(message)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
	if _, err := wire.Table(nil); err == nil {
		t.Error("no table at all is taken")
	}
}

func bundle() render.Bundle {
	return render.Bundle{Token: "abc", Files: []render.File{
		{Path: "/etc/nginx/certs/a.pem", Mode: 0o600, Content: render.NewContent([]byte{0, 1, 255})},
		{Path: "/etc/nginx/nginx.conf", Mode: 0o644, Content: render.NewContent([]byte("events {}"))},
	}}
}

func TestABundleArrivesAsItWasSent(t *testing.T) {
	sent := bundle()
	got, err := wire.Bundle(overTheWire(t, wire.BundleMessage(&sent), &interlockv1.Bundle{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("sent (-), received (+):\n%s", diff)
	}
}

func TestABundleNeedNotNameItsVersion(t *testing.T) {
	sent := bundle()
	message := wire.BundleMessage(&sent)
	message.Version = ""
	if _, err := wire.Bundle(message); err != nil {
		t.Error(err)
	}
}

func TestABundleMayHaveTheVersionThatItHadBefore(t *testing.T) {
	sent := bundle()
	message := wire.BundleMessage(&sent)
	message.Version = sent.FormerVersion()
	if _, err := wire.Bundle(message); err != nil {
		t.Error(err)
	}
}

func TestABundleThatBreaksAPromiseIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*interlockv1.Bundle)
		want  string
	}{
		"files out of order":        {func(m *interlockv1.Bundle) { m.Files[0], m.Files[1] = m.Files[1], m.Files[0] }, "must be sorted"},
		"a file twice":              {func(m *interlockv1.Bundle) { m.Files[1].Path = m.Files[0].Path }, "twice"},
		"a relative path":           {func(m *interlockv1.Bundle) { m.Files[0].Path = "etc/passwd" }, "absolute"},
		"a way out":                 {func(m *interlockv1.Bundle) { m.Files[0].Path = "/etc/nginx/../passwd" }, "detours"},
		"the root":                  {func(m *interlockv1.Bundle) { m.Files[0].Path = "/" }, "absolute"},
		"a NUL byte":                {func(m *interlockv1.Bundle) { m.Files[0].Path = "/a\x00b" }, "absolute"},
		"a setuid file":             {func(m *interlockv1.Bundle) { m.Files[0].Mode = uint32(fs.ModeSetuid | 0o755) }, "more than permissions"},
		"a version of other files":  {func(m *interlockv1.Bundle) { m.Files[1].Data = []byte("x") }, "have version"},
		"a version of other tokens": {func(m *interlockv1.Bundle) { m.Token = "x" }, "have version"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bundle()
			message := wire.BundleMessage(&b)
			test.spoil(message)
			_, err := wire.Bundle(message)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
	if _, err := wire.Bundle(nil); err == nil {
		t.Error("no bundle at all is taken")
	}
}

func TestParametersArriveAsTheyWereSentWithNumbersAsFloats(t *testing.T) {
	sent := render.Parameters{Port: 80, SSLPort: 443, PublishedSSLPort: 8443, MountedCredentials: true, Agentless: true, ConfigPath: "/etc/nginx/nginx.conf", Config: map[string]any{
		"User": "nginx", "WorkerProcesses": int64(1), "Ratio": 0.5, "IPHash": true, "HTTPOptions": []any{"a on;", "b off;"}, "TCPOptions": []any{},
	}}
	message, err := wire.ParametersMessage(sent)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.Parameters(overTheWire(t, message, &interlockv1.ProxyParameters{}))
	if err != nil {
		t.Fatal(err)
	}
	sent.Config["WorkerProcesses"] = float64(1)
	if diff := cmp.Diff(sent, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("sent (-), received (+):\n%s", diff)
	}
}

func TestParametersThatNoRendererExpectsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*interlockv1.ProxyParameters)
		want  string
	}{
		"a great port":         {func(m *interlockv1.ProxyParameters) { m.Port = 65536 }, "at most 65535"},
		"a great port outside": {func(m *interlockv1.ProxyParameters) { m.PublishedSslPort = 65536 }, "at most 65535"},
		"a great TLS port":     {func(m *interlockv1.ProxyParameters) { m.SslPort = math.MaxUint32 }, "at most 65535"},
		"a relative path":      {func(m *interlockv1.ProxyParameters) { m.ConfigPath = "nginx.conf" }, "absolute"},
		"a path with a way":    {func(m *interlockv1.ProxyParameters) { m.ConfigPath = "/etc/../nginx.conf" }, "detours"},
		"nothing":              {func(m *interlockv1.ProxyParameters) { m.Config.Fields["User"] = structpb.NewNullValue() }, "Config.User"},
		"no value":             {func(m *interlockv1.ProxyParameters) { m.Config.Fields["User"] = &structpb.Value{} }, "Config.User"},
		"not a number":         {func(m *interlockv1.ProxyParameters) { m.Config.Fields["User"] = structpb.NewNumberValue(math.NaN()) }, "Config.User"},
		"a table": {func(m *interlockv1.ProxyParameters) {
			m.Config.Fields["User"] = structpb.NewStructValue(&structpb.Struct{})
		}, "Config.User"},
		"a list of numbers": {func(m *interlockv1.ProxyParameters) {
			m.Config.Fields["User"] = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1)}})
		}, "is not a text"},
	} {
		t.Run(name, func(t *testing.T) {
			message, err := wire.ParametersMessage(render.Parameters{Port: 80, Config: map[string]any{"User": "nginx"}})
			if err != nil {
				t.Fatal(err)
			}
			test.spoil(message)
			_, err = wire.Parameters(message)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestAParameterThatCannotTravelIsNamed(t *testing.T) {
	_, err := wire.ParametersMessage(render.Parameters{Config: map[string]any{"User": struct{}{}}})
	if err == nil || !strings.Contains(err.Error(), "Config.User") {
		t.Errorf("got error %v", err)
	}
}

func TestAResultArrivesAsItWasSent(t *testing.T) {
	sent := render.Result{
		Bundle: render.Bundle{Token: "t", Files: []render.File{
			{Path: "/etc/nginx.conf", Mode: 0o644, Content: render.NewContent([]byte("x"))}, {Path: "/run/key.pem", Mode: 0o600, Content: render.NewContent([]byte("key")), Sensitive: true},
		}},
		Findings: []render.Finding{{Host: "a.test", Kind: problem.BadCertificate, Text: "it is none"}, {Host: "b.test", Kind: problem.CertExpired, Text: "long ago"}},
		Missing:  []string{"a.cert", "a.key"},
	}
	got, err := wire.Result(overTheWire(t, wire.ResultMessage(&sent, nil), &interlockv1.PutBundleRequest{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("sent (-), received (+):\n%s", diff)
	}
	plain := sent.Bundle
	plain.Files = slices.Clone(plain.Files)
	plain.Files[1].Sensitive = false
	if plain.Version() == sent.Bundle.Version() {
		t.Error("a bundle's version does not cover which files are sensitive")
	}
}

func TestAResultThatBreaksAPromiseIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*interlockv1.PutBundleRequest)
		want  string
	}{
		"a key that others may read": {func(m *interlockv1.PutBundleRequest) { m.GetBundle().Files[0].Mode = 0o640 }, "let others read a key"},
		"a finding about nobody":     {func(m *interlockv1.PutBundleRequest) { m.Findings[0].Host = "" }, "names no host"},
		"a kind that is no word":     {func(m *interlockv1.PutBundleRequest) { m.Findings[0].Kind = "x y" }, "its kind"},
		"a finding without words":    {func(m *interlockv1.PutBundleRequest) { m.Findings[0].Text = "" }, "no text"},
		"a path that is missing":     {func(m *interlockv1.PutBundleRequest) { m.Missing[0] = "/etc/passwd" }, "not the name of a material"},
		"out of order":               {func(m *interlockv1.PutBundleRequest) { m.Missing = []string{"b", "a"} }, "must be sorted"},
		"no bundle":                  {func(m *interlockv1.PutBundleRequest) { m.Result = nil }, "the bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			message := wire.ResultMessage(&render.Result{
				Bundle:   render.Bundle{Files: []render.File{{Path: "/run/key.pem", Mode: 0o600, Sensitive: true}}},
				Findings: []render.Finding{{Host: "a.test", Kind: problem.BadCertificate, Text: "it is none"}}, Missing: []string{"a"},
			}, nil)
			test.spoil(message)
			if _, err := wire.Result(message, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestAReasonIsFitToTravel(t *testing.T) {
	if got := wire.Reason("nginx: [emerg] \xff in /etc/nginx/nginx.conf:3"); got != "nginx: [emerg] \uFFFD in /etc/nginx/nginx.conf:3" {
		t.Errorf("a byte that is not UTF-8 became %q", got)
	}
	long := wire.Reason(strings.Repeat("é", 1<<20))
	if len(long) > 20<<10 || !utf8.ValidString(long) || !strings.HasPrefix(long, "éé") {
		t.Errorf("a long reason became %d bytes, UTF-8: %v", len(long), utf8.ValidString(long))
	}
}

func FuzzTable(f *testing.F) {
	seed, err := proto.Marshal(wire.TableMessage(table()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		message := &interlockv1.Table{}
		if proto.Unmarshal(data, message) != nil {
			return
		}
		first, err := wire.Table(message)
		if err != nil {
			return
		}
		again, err := wire.Table(wire.TableMessage(first))
		if err != nil {
			t.Fatalf("a table that was taken once is refused: %v", err)
		}
		if first.Version() != again.Version() {
			t.Error("a table changes on its way")
		}
	})
}

func FuzzBundle(f *testing.F) {
	b := bundle()
	seed, err := proto.Marshal(wire.BundleMessage(&b))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		message := &interlockv1.Bundle{}
		if proto.Unmarshal(data, message) != nil {
			return
		}
		first, err := wire.Bundle(message)
		if err != nil {
			return
		}
		again, err := wire.Bundle(wire.BundleMessage(&first))
		if err != nil {
			t.Fatalf("a bundle that was taken once is refused: %v", err)
		}
		if first.Version() != again.Version() {
			t.Error("a bundle changes on its way")
		}
	})
}

func FuzzParameters(f *testing.F) {
	message, err := wire.ParametersMessage(render.Parameters{Port: 80, ConfigPath: "/a", Config: map[string]any{"a": "b", "c": []any{"d"}, "e": 1.5, "f": true}})
	if err != nil {
		f.Fatal(err)
	}
	seed, err := proto.Marshal(message)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		message := &interlockv1.ProxyParameters{}
		if proto.Unmarshal(data, message) != nil {
			return
		}
		first, err := wire.Parameters(message)
		if err != nil {
			return
		}
		back, err := wire.ParametersMessage(first)
		if err != nil {
			t.Fatalf("parameters that were taken once cannot be sent: %v", err)
		}
		again, err := wire.Parameters(back)
		if err != nil {
			t.Fatalf("parameters that were taken once are refused: %v", err)
		}
		if diff := cmp.Diff(first, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("parameters change on their way:\n%s", diff)
		}
	})
}
