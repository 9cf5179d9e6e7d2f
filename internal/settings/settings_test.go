package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const walkthrough = `ListenAddr = ":8080"
DockerURL = "unix:///var/run/docker.sock"
PollInterval = "3s"

[Extensions]
  [Extensions.default]
    Image = "interlock-extension:VERSION"
    Args = []
    ServiceName = "interlock-ext"
    ProxyImage = "interlock-proxy:VERSION"
    ProxyArgs = []
    ProxyServiceName = "interlock-proxy"
    ProxyConfigPath = "/etc/nginx/nginx.conf"
    ProxyReplicas = 1
    PublishMode = "host"
    PublishedPort = 80
    TargetPort = 80
    PublishedSSLPort = 443
    TargetSSLPort = 443
    [Extensions.default.Config]
      User = "nginx"
      PidPath = "/var/run/proxy.pid"
      WorkerProcesses = 1
      RlimitNoFile = 65535
      MaxConnections = 2048
`

// smallest is a file with nothing that could be left out.
const smallest = `[Extensions.default]
Image = "e:1"
ProxyImage = "p:1"
`

func parse(t *testing.T, text string) *settings.Settings {
	t.Helper()
	s, err := settings.Parse("config.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func diff(want, got *settings.Settings) string {
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(settings.Settings{}))
}

func TestTheWalkthroughsFileMeansWhatItSays(t *testing.T) {
	want := &settings.Settings{
		ListenAddr:   ":8080",
		DockerURL:    "unix:///var/run/docker.sock",
		PollInterval: 3 * time.Second,
		Extensions: []settings.Extension{{
			Name:             "default",
			Image:            "interlock-extension:VERSION",
			Args:             []string{},
			ServiceName:      "interlock-ext",
			ProxyImage:       "interlock-proxy:VERSION",
			ProxyArgs:        []string{},
			ProxyServiceName: "interlock-proxy",
			ProxyConfigPath:  "/etc/nginx/nginx.conf",
			ProxyReplicas:    1,
			PublishMode:      snapshot.PublishHost,
			PublishedPort:    80,
			TargetPort:       80,
			PublishedSSLPort: 443,
			TargetSSLPort:    443,
			Config: map[string]any{
				"User":            "nginx",
				"PidPath":         "/var/run/proxy.pid",
				"WorkerProcesses": "1",
				"RLimitNoFile":    int64(65535),
				"MaxConnections":  int64(2048),
			},
		}},
	}
	got := parse(t, walkthrough)
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
	if n := got.Notices(); len(n) != 0 {
		t.Errorf("notices: %q", n)
	}
}

func TestAbsentKeysHaveTheDocumentedDefaults(t *testing.T) {
	want := &settings.Settings{
		ListenAddr:   ":8080",
		DockerURL:    "unix:///var/run/docker.sock",
		PollInterval: 3 * time.Second,
		Extensions: []settings.Extension{{
			Name: "default", Image: "e:1", ProxyImage: "p:1",
			ProxyConfigPath: "/etc/nginx/nginx.conf",
			ProxyReplicas:   1,
			PublishMode:     snapshot.PublishIngress,
			TargetPort:      80,
			TargetSSLPort:   443,
		}},
	}
	if d := diff(want, parse(t, smallest)); d != "" {
		t.Error(d)
	}
}

func TestAnEmptyStringIsTheSameAsAnAbsentKey(t *testing.T) {
	given := `ListenAddr = ""
EndpointOverride = ""
TLSCert = ""
` + smallest + `
ProxyStopSignal = ""
ProxyStopGracePeriod = ""
PublishMode = ""
Template = ""
ConfigImage = ""
`
	s := parse(t, given)
	if d := diff(parse(t, smallest), s); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(parse(t, smallest).Notices(), s.Notices()); d != "" {
		t.Error(d)
	}
}

func TestKeysMatchWithoutRegardToCase(t *testing.T) {
	folded := strings.NewReplacer(
		"ListenAddr", "listenaddr", "[Extensions]", "[EXTENSIONS]", "[Extensions.default.Config]", "[extensions.default.CONFIG]",
		"ProxyImage", "PROXYIMAGE", "RlimitNoFile", "rlimitnofile").Replace(walkthrough)
	if d := diff(parse(t, walkthrough), parse(t, folded)); d != "" {
		t.Error(d)
	}
}

func TestEveryWayToWriteATableGivesTheSame(t *testing.T) {
	want := parse(t, "[Extensions.a]\nImage = \"e:1\"\nProxyImage = \"p:1\"\n[Extensions.a.Labels]\n\"com.example.role\" = \"lb\"\n[Extensions.a.Config]\nUser = \"www\"\n")
	for name, text := range map[string]string{
		"inline tables":       `Extensions = { a = { Image = "e:1", ProxyImage = "p:1", Labels = { "com.example.role" = "lb" }, Config = { User = "www" } } }`,
		"dotted keys":         "Extensions.a.Image = \"e:1\"\nExtensions.a.ProxyImage = \"p:1\"\nExtensions.a.Labels.com.example.role = \"lb\"\nExtensions.a.Config.User = \"www\"\n",
		"inner tables first":  "[Extensions.a.Config]\nUser = \"www\"\n[Extensions.a.Labels]\ncom.example.role = \"lb\"\n[Extensions.a]\nImage = \"e:1\"\nProxyImage = \"p:1\"\n",
		"Windows line ends":   "\ufeff[Extensions.a]\r\nImage = \"e:1\"\r\nProxyImage = \"p:1\"\r\nLabels.com.example.role = \"lb\"\r\nConfig.User = \"www\"\r\n",
		"labels as own table": "[Extensions.a]\nImage = 'e:1'\nProxyImage = \"\"\"p:1\"\"\"\n[Extensions.a.Labels.com.example]\nrole = \"lb\"\n[Extensions.a.Config]\nUser = \"www\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			if d := diff(want, parse(t, text)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestExtensionsAreSortedByName(t *testing.T) {
	s := parse(t, `
[Extensions.us-west]
Image = "e:1"
ProxyImage = "p:1"
ServiceCluster = "us-west"
PublishMode = "host"
PublishedPort = 80
[Extensions.us-east]
Image = "e:1"
ProxyImage = "p:1"
ServiceCluster = "us-east"
PublishMode = "host"
PublishedPort = 80
`)
	if got := []string{s.Extensions[0].Name, s.Extensions[1].Name}; !cmp.Equal(got, []string{"us-east", "us-west"}) {
		t.Errorf("got %q", got)
	}
}

func TestAbsentNetworksAreNotNoNetworks(t *testing.T) {
	if s := parse(t, smallest); s.Extensions[0].Networks != nil {
		t.Errorf("absent: %q, want nil", s.Extensions[0].Networks)
	}
	if s := parse(t, smallest+"Networks = []\n"); s.Extensions[0].Networks == nil {
		t.Error("empty: nil, want an empty list")
	}
}

func TestValuesAreNormalised(t *testing.T) {
	s := parse(t, smallest+`
ProxyStopSignal = "quit"
ProxyStopGracePeriod = "1m30s"
ProxyUpdateDelay = "0s"
PublishMode = "Host"
HitlessServiceUpdate = true
PlacementPreferences = ["spread=node.labels.zone", "engine.labels.rack"]
Constraints = ["node.role == worker"]
Networks = ["apps"]
[Extensions.default.Config]
WorkerProcesses = "AUTO"
ConnectTimeout = "1m30s"
SendTimeout = 600
ReadTimeout = "600s"
KeepaliveTimeout = 75
ClientMaxBodySize = 1_048_576
ClientBodyBufferSize = "16K"
LargeClientHeaderBuffers = "4  8k"
SSLProtocols = "tlsv1.2 TLSv1.3"
SSLVerify = "None"
GlobalOptions = "worker_priority -5;"
HTTPOptions = ["gzip on;", "etag off;"]
HTTPVersion = 1.1
IPHash = true
`).Extensions[0]
	grace, delay, hitless := 90*time.Second, time.Duration(0), true
	want := settings.Extension{
		Name: "default", Image: "e:1", ProxyImage: "p:1", ProxyConfigPath: "/etc/nginx/nginx.conf", ProxyReplicas: 1,
		TargetPort: 80, TargetSSLPort: 443,
		ProxyStopSignal: "SIGQUIT", ProxyStopGracePeriod: &grace, ProxyUpdateDelay: &delay, HitlessServiceUpdate: &hitless,
		PublishMode:          snapshot.PublishHost,
		PlacementPreferences: []string{"node.labels.zone", "engine.labels.rack"},
		Constraints:          []string{"node.role == worker"},
		Networks:             []string{"apps"},
		Config: map[string]any{
			"WorkerProcesses": "auto", "ConnectTimeout": int64(90), "SendTimeout": int64(600), "ReadTimeout": int64(600),
			"KeepaliveTimeout": "75s", "ClientMaxBodySize": "1048576", "ClientBodyBufferSize": "16k",
			"LargeClientHeaderBuffers": "4 8k", "SSLProtocols": "TLSv1.2 TLSv1.3", "SSLVerify": "none",
			"GlobalOptions": []any{"worker_priority -5;"}, "HTTPOptions": []any{"gzip on;", "etag off;"},
			"HTTPVersion": "1.1", "IPHash": true,
		},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

func TestOptionsOfAnotherProxyDoNotReachTheExtension(t *testing.T) {
	s := parse(t, smallest+"Config.ClientTimeout = 600\nConfig.AdminPass = \"hunter2\"\nConfig.User = \"www\"\n")
	if d := cmp.Diff(map[string]any{"User": "www"}, s.Extensions[0].Config); d != "" {
		t.Error(d)
	}
}

func TestWhatPassesHereTheNginxRendererTakes(t *testing.T) {
	for key, values := range map[string][]string{
		"User":                      {`"nginx"`, `"www-data www-data"`},
		"PidPath":                   {`"/run/nginx.pid"`},
		"WorkerProcesses":           {`1`, `"1024"`, `"auto"`, `"Auto"`},
		"RLimitNoFile":              {`64`, `1_073_741_816`},
		"MaxConnections":            {`16`, `1000000`},
		"ConnectTimeout":            {`1`, `1728000`, `"480h"`},
		"SendTimeout":               {`600`, `"10m"`},
		"ReadTimeout":               {`600`, `"10m"`},
		"IPHash":                    {`true`},
		"HideInfoHeaders":           {`false`},
		"SSLCiphers":                {`"HIGH:!aNULL:!MD5"`},
		"SSLProtocols":              {`"tlsv1 TLSv1.1  TLSv1.2 TLSv1.3"`},
		"SSLOpts":                   {`"ssl_session_tickets off;"`},
		"SSLVerify":                 {`"none"`, `"Optional"`, `"required"`},
		"SSLDefaultDHParam":         {`1024`, `8192`},
		"SSLDefaultDHParamPath":     {`"/run/secrets/dh.pem"`},
		"WorkerShutdownTimeout":     {`"10m"`, `60`},
		"KeepaliveTimeout":          {`0`, `"75"`, `"1h1m1s1ms"`, `"1m30"`, `"480h"`},
		"ClientMaxBodySize":         {`0`, `"32M"`, `"1024g"`},
		"ClientBodyBufferSize":      {`1`, `"1024m"`},
		"ClientHeaderBufferSize":    {`"1k"`},
		"LargeClientHeaderBuffers":  {`"4 512"`, `"1024 1024m"`},
		"ClientBodyTimeout":         {`60`, `"1ms"`},
		"UnderscoresInHeaders":      {`true`},
		"ServerNamesHashBucketSize": {`32`, `65472`},
		"UpstreamZoneSize":          {`32`, `1048576`},
		"GlobalOptions":             {`[]`, `["worker_priority -5;"]`},
		"HTTPOptions":               {`"gzip on;"`},
		"TCPOptions":                {`[""]`},
		"AccessLogPath":             {`"/dev/stdout"`, `"syslog:server=10.0.0.5:514,tag=lb"`},
		"ErrorLogPath":              {`"/dev/stderr"`, `"syslog:server=[fd00::1]"`},
		"MainLogFormat":             {`"'$remote_addr';"`},
		"TraceLogFormat":            {`"'$remote_addr'\n'$request';\n"`},
		"HTTPVersion":               {`1.0`, `"1.1"`, `"3"`, `[2]`, `true`},
		"Version":                   {`"1"`},
	} {
		for _, value := range values {
			s := parse(t, smallest+"Config."+key+" = "+value+"\n")
			if _, err := nginx.ParseOptions(s.Extensions[0].Config); err != nil {
				t.Errorf("%s = %s: %v", key, value, err)
			}
		}
	}
}

// urls are the lists that internal/docker is tested with too: what is taken
// here must work there.
func urls(t *testing.T, list string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "dockerurl", list))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

func TestWhichURLsOfADockerAPIAreTaken(t *testing.T) {
	for _, url := range urls(t, "taken") {
		if got := parse(t, "DockerURL = \""+url+"\"\n"+smallest).DockerURL; got != url {
			t.Errorf("%s became %s", url, got)
		}
	}
	for _, url := range urls(t, "refused") {
		if _, err := settings.Parse("config.toml", []byte("DockerURL = \""+url+"\"\n"+smallest)); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
}

func TestSignalsAreNamedWhicheverWayTheyAreWritten(t *testing.T) {
	for _, written := range []string{`"SIGQUIT"`, `"QUIT"`, `"sigquit"`, `"3"`, `3`} {
		s := parse(t, smallest+"ProxyStopSignal = "+written+"\n")
		if got := s.Extensions[0].ProxyStopSignal; got != "SIGQUIT" {
			t.Errorf("%s: got %q", written, got)
		}
	}
}

func TestAHAProxyExtensionIsKnownByItsArgumentsOrImage(t *testing.T) {
	for _, text := range []string{smallest + "Args = [\"haproxy\"]\n", strings.Replace(smallest, "e:1", "registry:5000/interlock-haproxy:1", 1)} {
		s := parse(t, text+"[Extensions.default.Config]\nAdminUser = \"admin\"\n")
		if got := s.Extensions[0].ProxyConfigPath; got != "/etc/haproxy/haproxy.cfg" {
			t.Errorf("got %s", got)
		}
		for _, n := range s.Notices() {
			if strings.Contains(n, "AdminUser") {
				t.Error(n)
			}
		}
	}
}

func TestLoadReadsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(walkthrough), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(parse(t, walkthrough), s); d != "" {
		t.Error(d)
	}
}

func TestLoadNamesAFileThatIsNotThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "absent.toml")
	_, err := settings.Load(file)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestAFileBeyondOneMebibyteIsRefused(t *testing.T) {
	text := walkthrough + strings.Repeat("#", 1<<20)
	_, err := settings.Parse("config.toml", []byte(text))
	var faults settings.Faults
	if !errors.As(err, &faults) || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("got %v", err)
	}
}
