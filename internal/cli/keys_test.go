package cli

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/render/nginx/template"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// A keyCase gives a key a value and says where that must show. What is looked
// at must differ from the same with the base configuration.
type keyCase struct {
	key, value string
	look       func(world) string
	want       string
}

// The base configuration, table by table: keys and TOML values.
var (
	baseCore = map[string]string{
		"DockerURL": `"https://docker.local:2376"`, "TLSCACert": `"/tls/ca.pem"`, "TLSCert": `"/tls/cert.pem"`, "TLSKey": `"/tls/key.pem"`,
	}
	baseExtension = map[string]string{
		"Image": `"interlock-extension:1"`, "ServiceName": `"interlock-ext"`, "ProxyImage": `"interlock-proxy:1"`, "ProxyServiceName": `"interlock-proxy"`,
		"PublishedPort": "80", "PublishedSSLPort": "443",
	}
)

// coreCases are the keys of the file's top.
var coreCases = []keyCase{
	{"ListenAddr", `":9090"`, extensionEnv, "10.0.0.1:32769"},
	{"EndpointOverride", `"core.local:7000"`, extensionEnv, "core.local:7000"},
	{"DockerURL", `"https://other.local:2376"`, func(w world) string { return w.docker.URL }, "https://other.local:2376"},
	{"TLSCACert", `"/other/ca.pem"`, func(w world) string { return w.docker.CACert }, "/other/ca.pem"},
	{"TLSCert", `"/other/cert.pem"`, func(w world) string { return w.docker.Cert }, "/other/cert.pem"},
	{"TLSKey", `"/other/key.pem"`, func(w world) string { return w.docker.Key }, "/other/key.pem"},
	{"AllowInsecure", "true", func(w world) string { return fmt.Sprint(w.docker.AllowInsecure) }, "true"},
	{"PollInterval", `"7s"`, func(w world) string { return fmt.Sprint(w.docker.PollInterval) }, "7s"},
	{
		"Extensions", "[Extensions.second]\nImage = 'e:1'\nProxyImage = 'interlock-proxy:1'\nServiceCluster = 'second'\n",
		func(w world) string { return strings.Join(slices.Sorted(maps.Keys(w.services)), " ") },
		"demo interlock interlock-ext interlock-extension-second interlock-proxy interlock-proxy-second secure shop",
	},
}

// extensionCases are the keys of [Extensions.NAME].
var extensionCases = []keyCase{
	{"Image", `"other:2"`, ofExtension(func(s snapshot.ServiceSpec) any { return s.Image }), "other:2"},
	{"Args", `["nginx", "-x"]`, ofExtension(func(s snapshot.ServiceSpec) any { return s.Args }), "[nginx -x]"},
	{"Labels", `{ a = "b" }`, ofExtension(func(s snapshot.ServiceSpec) any { return s.Labels["a"] }), "b"},
	{"ContainerLabels", `{ a = "b" }`, ofExtension(func(s snapshot.ServiceSpec) any { return s.ContainerLabels["a"] }), "b"},
	{"Constraints", `["node.role==worker"]`, ofExtension(func(s snapshot.ServiceSpec) any { return s.Constraints }), "[node.role==worker]"},
	{"PlacementPreferences", `["spread=node.labels.zone"]`, ofExtension(func(s snapshot.ServiceSpec) any { return s.Preferences }), "[node.labels.zone]"},
	{"ServiceName", `"renderer"`, func(w world) string { return w.services["renderer"].Image }, "interlock-extension:1"},
	{"Networks", `[]`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Networks }), "[]"},
	{"ProxyImage", `"our-interlock:2"`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Image }), "our-interlock:2"},
	{"ProxyArgs", `["-x"]`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Args }), "[-x]"},
	{"ProxyLabels", `{ a = "b" }`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Labels["a"] }), "b"},
	{"ProxyContainerLabels", `{ a = "b" }`, ofProxy(func(s snapshot.ServiceSpec) any { return s.ContainerLabels["a"] }), "b"},
	{"ProxyServiceName", `"edge"`, func(w world) string { return w.services["edge"].Image }, "interlock-proxy:1"},
	{"ProxyConstraints", `["node.role==worker"]`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Constraints }), "[node.role==worker]"},
	{"ProxyPlacementPreferences", `["node.labels.zone"]`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Preferences }), "[node.labels.zone]"},
	{"ProxyConfigPath", `"/srv/nginx.conf"`, ofProxy(func(s snapshot.ServiceSpec) any { return s.Env["INTERLOCK_CONFIG_PATH"] }), "/srv/nginx.conf"},
	{"ProxyReplicas", `3`, ofProxy(func(s snapshot.ServiceSpec) any { return *s.Replicas }), "3"},
	{"ProxyStopSignal", `"SIGQUIT"`, ofProxy(func(s snapshot.ServiceSpec) any { return s.StopSignal }), "SIGQUIT"},
	{"ProxyStopGracePeriod", `"5s"`, ofProxy(func(s snapshot.ServiceSpec) any { return s.StopGracePeriod != nil && s.StopGracePeriod.Seconds() == 5 }), "true"},
	{"ProxyUpdateDelay", `"5s"`, ofProxy(func(s snapshot.ServiceSpec) any { return s.UpdateDelay != nil && s.UpdateDelay.Seconds() == 5 }), "true"},
	{"ServiceCluster", `"east"`, has(`server_name "demo.local";`), "false"},
	{"PublishMode", `"host"`, ofProxy(ports), "80>80 host, 443>443 host"},
	{"PublishedPort", `8000`, ofProxy(ports), "8000>80 ingress, 443>443 ingress"},
	{"TargetPort", `8081`, func(w world) string { return ofProxy(ports)(w) + "; " + has("listen 8081;")(w) }, "443>443 ingress, 80>8081 ingress; true"},
	{"PublishedSSLPort", `8443`, ofProxy(ports), "80>80 ingress, 8443>443 ingress"},
	{"TargetSSLPort", `8444`, func(w world) string { return ofProxy(ports)(w) + "; " + has("listen 8444 ssl")(w) }, "80>80 ingress, 443>8444 ingress; true"},
	{"Template", `"ours"`, ofExtension(func(s snapshot.ServiceSpec) any {
		return targets(s.Configs)
	}), "[config-ours at /etc/docker/extension-template.conf]"},
	{"HitlessServiceUpdate", `false`, has("client_body_temp_path"), "false"},
	{"ConfigImage", `"c:1"`, notice("ConfigImage"), "has no effect: hitless updates need no service of their own any more."},
	{"ConfigServiceName", `"c"`, notice("ConfigServiceName"), "has no effect: hitless updates need no service of their own any more."},
	{"Config", `{ MaxConnections = 77 }`, has("worker_connections 77;"), "true"},
}

// optionCases are the keys of [Extensions.NAME.Config], for an extension for nginx.
var optionCases = []keyCase{
	{"User", `"www-data"`, has(`user "www-data";`), "true"},
	{"PidPath", `"/run/x.pid"`, has(`pid "/run/x.pid";`), "true"},
	{"WorkerProcesses", `"auto"`, has("worker_processes auto;"), "true"},
	{"RLimitNoFile", `7777`, has("worker_rlimit_nofile 7777;"), "true"},
	{"MaxConnections", `77`, has("worker_connections 77;"), "true"},
	{"ConnectTimeout", `7`, has("proxy_connect_timeout 7s;"), "true"},
	{"SendTimeout", `7`, has("proxy_send_timeout 7s;"), "true"},
	{"ReadTimeout", `7`, has("proxy_read_timeout 7s;"), "true"},
	{"IPHash", `true`, has(" ip_hash;"), "true"},
	{"HideInfoHeaders", `true`, has("x-server-info"), "false"},
	{"SSLCiphers", `"HIGH"`, has(`ssl_ciphers "HIGH";`), "true"},
	{"SSLProtocols", `"TLSv1.3"`, has(`ssl_protocols "TLSv1.3";`), "true"},
	{"SSLOpts", `"ssl_early_data on"`, has("ssl_early_data on;"), "true"},
	{"SSLVerify", `"none"`, has("proxy_ssl_verify off;"), "true"},
	{"SSLBackendAuthorities", `"""` + authority + `"""`, has(`proxy_ssl_trusted_certificate "`), "true"},
	{"SSLDefaultDHParam", `2048`, has(`ffdhe2048.pem";`), "true"},
	{"SSLDefaultDHParamPath", `"/run/dh.pem"`, has(`ssl_dhparam "/run/dh.pem";`), "true"},
	{"WorkerShutdownTimeout", `"7m"`, has("worker_shutdown_timeout 420s;"), "true"},
	{"ClientHeaderTimeout", `"7s"`, has("client_header_timeout 7s;"), "true"},
	{"ClientSendTimeout", `"7s"`, has(" send_timeout 7s;"), "true"},
	{"KeepaliveRequests", `77`, has("keepalive_requests 77;"), "true"},
	{"KeepaliveTimeout", `"7s"`, has("keepalive_timeout 7s;"), "true"},
	{"ClientMaxBodySize", `"7m"`, has("client_max_body_size 7m;"), "true"},
	{"ClientBodyBufferSize", `"7k"`, has("client_body_buffer_size 7k;"), "true"},
	{"ClientHeaderBufferSize", `"7k"`, has("client_header_buffer_size 7k;"), "true"},
	{"LargeClientHeaderBuffers", `"7 16k"`, has("large_client_header_buffers 7 16k;"), "true"},
	{"ClientBodyTimeout", `"7s"`, has("client_body_timeout 7s;"), "true"},
	{"UnderscoresInHeaders", `true`, has("underscores_in_headers on;"), "true"},
	{"ServerNamesHashBucketSize", `1024`, has("server_names_hash_bucket_size 1024;"), "true"},
	{"UpstreamZoneSize", `512`, has(" 512k;"), "true"},
	{"GlobalOptions", `["worker_priority -5;"]`, before("worker_priority -5;", "http {"), "true"},
	{"HTTPOptions", `["gzip on;"]`, before("http {", "gzip on;"), "true"},
	{"TCPOptions", `["tcp_nodelay on;"]`, before("stream {", "tcp_nodelay on;"), "true"},
	{"AccessLogFormat", `"json"`, has(`access_log "/dev/stdout" json;`), "true"},
	{"AccessLogPath", `"/var/log/a.log"`, has(`access_log "/var/log/a.log" trace;`), "true"},
	{"ErrorLogPath", `"/var/log/e.log"`, has(`error_log "/var/log/e.log" warn;`), "true"},
	{"MainLogFormat", `"'$uri';"`, has("log_format main '$uri';"), "true"},
	{"TraceLogFormat", `"'$uri';"`, has("log_format trace '$uri';"), "true"},
	{"HTTPVersion", `"1.0"`, has("proxy_http_version 1.0;"), "true"},
	{"Version", `"x"`, notice("Config.Version"), "has no effect: there is one layout only."},
	{"MaxConnectionsPerClient", `7`, notice("Config.MaxConnectionsPerClient"), forNative},
	{"WebsocketTimeout", `7`, notice("Config.WebsocketTimeout"), forNative},
	{"ShutdownTimeout", `7`, notice("Config.ShutdownTimeout"), forNative},
	{"TrustedProxies", `["10.0.0.0/8"]`, notice("Config.TrustedProxies"), forNative},
	{"ClientTimeout", `7`, notice("Config.ClientTimeout"), forHAProxy},
	{"ServerTimeout", `7`, notice("Config.ServerTimeout"), forHAProxy},
	{"DefaultOptions", `["x"]`, notice("Config.DefaultOptions"), forHAProxy},
	{"AdminUser", `"x"`, notice("Config.AdminUser"), forHAProxy},
	{"AdminPass", `"x"`, notice("Config.AdminPass"), forHAProxy},
}

// authority is one that nobody uses, valid for a hundred years.
const authority = `-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUVNutPfjWejpp8ZviTL4Jhzx9c7YwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyNTE5NTgwM1oYDzIxMjYxMTAx
MTk1ODAzWjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATUI8Pide839xVhEwhxA2JpmvKt6b3HyOBGn9w+T12LCThxHRPvIoHv
Br0RTONgkuLDSYLWUU3OPvW1qAvbRGPko1MwUTAdBgNVHQ4EFgQUZ3O7ML1wgktG
f3zjDHoPgI+JmPwwHwYDVR0jBBgwFoAUZ3O7ML1wgktGf3zjDHoPgI+JmPwwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAzkXJScpGs0xfd/20tBFf
8lWqcu9tYmJ4mB0sGrFd9CICIQDelcc0Gd86noFsq8SARATuf6dW6aVCHhQeDWWH
0uanog==
-----END CERTIFICATE-----
`

const forNative = "has no effect: it is for native, and this extension's Image and Args make it one for nginx."

const forHAProxy = "has no effect: it is for HAProxy, and this extension's Image and Args make it one for nginx."

func TestEveryKeyDoesWhatItSaysOrSaysOnceThatItDoesNothing(t *testing.T) {
	base := worldOf(t, configWith("", "", ""))
	for table, cases := range map[string][]keyCase{"core": coreCases, "extension": extensionCases, "options": optionCases} {
		for _, c := range cases {
			t.Run(c.key, func(t *testing.T) {
				if before := c.look(base); before == c.want {
					t.Fatalf("without the key it is %q already: the case shows nothing", before)
				}
				if got := c.look(worldOf(t, configWith(table, c.key, c.value))); got != c.want {
					t.Errorf("with %s = %s it is %q, want %q", c.key, c.value, got, c.want)
				}
			})
		}
	}
}

func TestTemplatesGetEveryKeyOfNginx(t *testing.T) {
	table := worldOf(t, configWith("", "", "")).publication.Table
	for _, c := range optionCases {
		if strings.HasPrefix(c.want, "has no effect") || c.key == "SSLBackendAuthorities" { // a template names a file of its own
			continue
		}
		var rendered []string
		for _, config := range []string{configWith("", "", ""), configWith("options", c.key, c.value)} {
			s, err := settings.Parse("config.toml", []byte(config))
			if err != nil {
				t.Fatal(err)
			}
			e := s.Extensions[0]
			b, err := template.New(nginx.Renderer{}, "t", "events {}\nvalue {{ .ExtensionConfig."+c.key+" }};\n").Render(
				table, render.Parameters{Port: e.TargetPort, ConfigPath: e.ProxyConfigPath, Config: e.Config}, nil)
			if err != nil {
				t.Fatal(err)
			}
			rendered = append(rendered, strings.Split(string(b.Files[0].Data()), "\n")[1])
		}
		if rendered[0] == rendered[1] {
			t.Errorf("with %s = %s a template gets what it gets without: %s", c.key, c.value, rendered[0])
		}
	}
}

func TestEveryKeyHasItsCaseOnce(t *testing.T) {
	var reference bytes.Buffer
	if err := settings.WriteReference(&reference); err != nil {
		t.Fatal(err)
	}
	cases := make(map[string]int)
	for _, c := range slices.Concat(coreCases, extensionCases, optionCases) {
		cases[c.key]++
	}
	for line := range strings.Lines(reference.String()) {
		if key, _, isRow := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); isRow && strings.HasPrefix(line, "| `") {
			if cases[key] != 1 {
				t.Errorf("the key %s has %d cases, want one that fails if the key is ignored", key, cases[key])
			}
			delete(cases, key)
		}
	}
	for key := range cases {
		t.Errorf("there is a case of %s, which is no key", key)
	}
}

// configWith is the base configuration with one key of one table changed.
func configWith(table, key, value string) string {
	lines := func(name string, base map[string]string) string {
		keys := make(map[string]string)
		maps.Copy(keys, base)
		if name == table {
			keys[key] = value
		}
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			fmt.Fprintf(&b, "%s = %s\n", k, keys[k])
		}
		return b.String()
	}
	if key == "Extensions" { // whose value is a table of its own
		return configWith("", "", "") + value
	}
	text := lines("core", baseCore) + "[Extensions.default]\n" + lines("extension", baseExtension)
	if table == "options" {
		text += "[Extensions.default.Config]\n" + lines("options", nil)
	}
	return text
}

func extensionEnv(w world) string { return w.services["interlock-ext"].Env["INTERLOCK_CORE"] }

func ofExtension(f func(snapshot.ServiceSpec) any) func(world) string {
	return func(w world) string { return fmt.Sprint(f(w.services["interlock-ext"])) }
}

func ofProxy(f func(snapshot.ServiceSpec) any) func(world) string {
	return func(w world) string { return fmt.Sprint(f(w.services["interlock-proxy"])) }
}

// ports are the published ones, but not the agent's.
func ports(s snapshot.ServiceSpec) any {
	var list []string
	for _, p := range s.Ports {
		if p.Published != 0 {
			list = append(list, fmt.Sprintf("%d>%d %s", p.Published, p.Target, p.Mode))
		}
	}
	return strings.Join(list, ", ")
}

func targets(files []snapshot.FileRef) (list []string) {
	for _, f := range files {
		list = append(list, f.ID+" at "+f.Target)
	}
	return list
}

func has(text string) func(world) string {
	return func(w world) string { return fmt.Sprint(strings.Contains(w.conf, text)) }
}

func before(first, second string) func(world) string {
	return func(w world) string {
		_, rest, found := strings.Cut(w.conf, first)
		return fmt.Sprint(found && strings.Contains(rest, second))
	}
}

// notice is what is said of a key, which must be said once.
func notice(key string) func(world) string {
	return func(w world) string {
		var said []string
		for _, n := range w.notices {
			if rest, found := strings.CutPrefix(n, "Extensions.default."+key+" "); found {
				said = append(said, rest)
			}
		}
		return strings.Join(said, " AND ")
	}
}
