package settings_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/settings"
)

const referenceFile = "../../docs/configuration.md"

func reference(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := settings.WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheDocumentationIsInStepWithTheKeys(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("run the tests with -update:\n%s", d)
	}
}

func TestTheDocumentationsExampleIsValid(t *testing.T) {
	_, rest, _ := strings.Cut(reference(t), "```toml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	if n := parse(t, example).Notices(); len(n) != 0 {
		t.Errorf("notices: %q", n)
	}
}

// The keys of Interlock 2 and 3, table by table. A file that uses them must go
// on working, so none may ever be taken out.
var (
	coreKeys = strings.Fields(`ListenAddr DockerURL TLSCACert TLSCert TLSKey AllowInsecure PollInterval
		EndpointOverride Extensions`)
	extensionKeys = strings.Fields(`Image Args Labels ContainerLabels Constraints PlacementPreferences ServiceName
		Networks ProxyImage ProxyArgs ProxyLabels ProxyContainerLabels ProxyServiceName ProxyConstraints
		ProxyPlacementPreferences ProxyConfigPath ProxyReplicas ProxyStopSignal ProxyStopGracePeriod ProxyUpdateDelay
		ServiceCluster PublishMode PublishedPort TargetPort PublishedSSLPort TargetSSLPort Template
		HitlessServiceUpdate ConfigImage ConfigServiceName Config`)
	nginxKeys = strings.Fields(`User PidPath WorkerProcesses RLimitNoFile MaxConnections ConnectTimeout SendTimeout
		ReadTimeout IPHash HideInfoHeaders SSLCiphers SSLProtocols SSLOpts SSLVerify SSLDefaultDHParam
		SSLDefaultDHParamPath KeepaliveTimeout ClientMaxBodySize ClientBodyBufferSize ClientHeaderBufferSize
		LargeClientHeaderBuffers ClientBodyTimeout UnderscoresInHeaders ServerNamesHashBucketSize UpstreamZoneSize
		GlobalOptions HTTPOptions TCPOptions AccessLogPath ErrorLogPath MainLogFormat TraceLogFormat HTTPVersion
		Version AdminUser AdminPass`)
	haproxyKeys = strings.Fields(`PidPath MaxConnections ConnectTimeout ClientTimeout ServerTimeout AdminUser AdminPass
		SSLOpts SSLDefaultDHParam SSLVerify SSLCiphers SSLProtocols GlobalOptions DefaultOptions`)
)

func TestEveryKeyOfOldIsKnownInItsTable(t *testing.T) {
	// A date is a value that no key takes: a known key says what it takes, an
	// unknown one that it is unknown. HTTPVersion alone takes anything.
	for _, table := range []struct {
		name, before string
		keys         []string
	}{
		{"the top", "%s = 1979-05-27\n" + smallest, coreKeys},
		{"an extension", "[Extensions.default]\n%s = 1979-05-27\n", extensionKeys},
		{"nginx", smallest + "[Extensions.default.Config]\n%s = 1979-05-27\n", nginxKeys},
		{"HAProxy", smallest + "Args = [\"haproxy\"]\n[Extensions.default.Config]\n%s = 1979-05-27\n", haproxyKeys},
	} {
		for _, key := range table.keys {
			text := strings.Replace(table.before, "%s", key, 1)
			_, err := settings.Parse("config.toml", []byte(text))
			if err == nil && key != "HTTPVersion" {
				t.Errorf("%s: %s takes a date", table.name, key)
			}
			if err != nil && strings.Contains(err.Error(), "unknown key") {
				t.Errorf("%s: %s", table.name, err)
			}
		}
	}
}

func TestEveryKeyOfOldIsDocumented(t *testing.T) {
	text := reference(t)
	for _, keys := range [][]string{coreKeys, extensionKeys, nginxKeys, haproxyKeys} {
		for _, key := range keys {
			if !strings.Contains(text, "\n| `"+key+"` | ") {
				t.Errorf("%s is not documented", key)
			}
		}
	}
}
