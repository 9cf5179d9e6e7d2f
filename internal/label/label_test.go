package label_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
)

var update = flag.Bool("update", false, "write docs/labels.md")

// one parses a service with one label and returns the first fault's message.
func one(name, value string) (label.Set, string) {
	set, _, faults := label.Parse(map[string]string{label.Prefix + name: value})
	if len(faults) == 0 || !faults[0].Fatal {
		return set, ""
	}
	return set, faults[0].Message
}

// refusal is why a value does not match its label's grammar.
func refusal(name, value string) string {
	_, _, faults := label.Parse(map[string]string{label.Prefix + name: value})
	for _, f := range faults {
		if f.Kind == problem.BadLabel {
			return f.Message
		}
	}
	return ""
}

func TestHostsAreTakenInTheFormThatRequestsAreComparedWith(t *testing.T) {
	for value, want := range map[string][]string{
		"shop.example.com":             {"shop.example.com"},
		"b.example.com, a.example.com": {"a.example.com", "b.example.com"},
		"A2.TEST,a2.test":              {"a2.test"},
		"a2.test.,a2.test":             {"a2.test"},
		",,a.test,":                    {"a.test"},
		"*.example.com":                {"*.example.com"},
		"straße.test,strasse.test":     {"strasse.test", "xn--strae-oqa.test"},
		"ａ.test":                       {"a.test"},
		"xn--80ak6aa92e.test":          {"xn--80ak6aa92e.test"},
		"portal":                       {"portal"},
		"ab--c.test,r3---sn-abc.test":  {"ab--c.test", "r3---sn-abc.test"},
	} {
		set, fault := one("hosts", value)
		if fault != "" {
			t.Errorf("hosts=%q was refused: %s", value, fault)
		}
		if diff := cmp.Diff(want, set.Hosts); diff != "" {
			t.Errorf("hosts=%q (-want +got):\n%s", value, diff)
		}
	}
}

func TestWhatIsNoHostNameIsRefused(t *testing.T) {
	for _, value := range []string{
		"", ",", `""`, "x.test; return 200 pwned; #", "x.test\"", `x.test\`, "${TOKEN}", "x\u202etset.moc.test",
		"x\u200b.test", "x\ufeff.test", "~^(a+)+$", "*.*", "*", "*.com", "a.*.test", "-f", "x.test -m reg .*", "default_server",
		"http://a2.test/", "user@a2.test", "a2.test:80", "a2..test", ".a.test", strings.Repeat("a", 64) + ".test",
		strings.Repeat("a.", 127) + "test", "xn--a.test", "xn--abc-.test", "-a.test", "a-.test", "a.-b.test", "a-.-b.test", "-ü.test", "ü-.test", "xn----eha.test", "*.-a.test", "192.0.2.1", "[2001:db8::1]", "0x7f.1", "1", "a.0x7f", "localhost", "x.localhost",
		"a.test\nb.test", "a.test\x00", "\xff.test", strings.Repeat("a.test,", 256) + "b.test",
	} {
		if set, fault := one("hosts", value); fault == "" {
			t.Errorf("hosts=%.60q was taken as %q", value, set.Hosts)
		}
	}
}

func TestValuesOutsideTheirGrammarAreRefused(t *testing.T) {
	refused := map[string][]string{
		"port":                   {"", "0", "65536", "0x50", "80 backup", "+80", "-1", "١٢", "http", "8e1"},
		"network":                {"", "net;rm -rf /", "-net", "app|net", "a/b", strings.Repeat("n", 129)},
		"service_cluster":        {"../x", "a b", "-x", "ü"},
		"default_backend":        {"", "t", "yes", "1", "true; x"},
		"context_root":           {"app", "/a{", "~ ^/", "@named", "/a/../", "/..", "/a/./b", "/a%2fb", "//a", "/a?x", "/$uri", "/a\"", "/é", "/" + strings.Repeat("a", 254), "/.well-known", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/x"},
		"context_root_rewrite":   {"true; rewrite ^ /x", "t"},
		"ssl_cert":               {"", "a b", "a\x00", "engine:foo:bar", "$name.crt", "../key"},
		"ssl_backend_tls_verify": {"", "optional", "on"},
		"websocket_endpoints":    {"", "~ ^/", "/a/../b", "/ws,", "ws", strings.Repeat("/a,", 64) + "/b", "/ws,/" + strings.Repeat("a", 254)},
		"sticky_session_cookie":  {"", "a;Secure", "a\r\nX: y", "a\x01b", "SID rewrite", "__Host-sid", "é", "___", "my-session"},
		"redirects": {
			"", "http://r.test", "http://r.test,", ",https://x.test", "http://r.test,https://x.test,https://y.test", "ftp://r.test,https://x.test",
			"http://r.test,https://x.test/\" ; return 200 \"x", "http://r.test:80,https://x.test", "http://r.test,https://x.test:99999", "http://r.test,https://x.test?c=$http_cookie",
			"http://r1.test,http://r2.test;http://r2.test,http://r1.test", "http://r.test,http://r.test", "http://r.test,http://r.test:080", "http://r.test,http://a.test;http://r.test,http://b.test",
			"http://*.r.test,https://x.test", strings.Repeat("http://a.test,http://b.test;", 65),
		},
		"upstream_protocol": {"", "h3", "http2", "h2c;", "grpc"},
		"backend_mode":      {"", "task;", "dnsrr"},
		"weight":            {"", "-1", "0.5", "1001", "5%"},
		"balance":           {"", "random", "leastconn", "least_conn;"},
		"max_fails":         {"", "-1", "1.5", "1001"},
		"fail_timeout":      {"", "10", "0s", "-5s", "2h", "10s; x", "1.5s", "1500ms", "1m0.1s", "1s1ns"},
	}
	for name, values := range refused {
		for _, value := range values {
			if _, fault := one(name, value); fault == "" {
				t.Errorf("%s=%.60q was taken", name, value)
			}
		}
	}
}

func TestValuesAtTheEdgeOfTheirGrammarAreTaken(t *testing.T) {
	longest := "/" + strings.Repeat("-", 253)
	for name, value := range map[string]string{
		"context_root": longest, "websocket_endpoints": longest + ",/ws", "fail_timeout": "1h", "max_fails": "1000", "weight": "1000", "balance": "least_conn",
	} {
		if fault := refusal(name, value); fault != "" {
			t.Errorf("%s=%.60q was refused: %s", name, value, fault)
		}
	}
	for value, want := range map[string]time.Duration{"1s": time.Second, "1000ms": time.Second, "1.5m": 90 * time.Second} {
		if set, fault := one("fail_timeout", value); fault != "" || *set.FailTimeout != want {
			t.Errorf("fail_timeout=%s: %v, %s", value, set.FailTimeout, fault)
		}
	}
}

func TestManyPathsOnManyHostsAreBoundedTogether(t *testing.T) {
	var hosts, paths []string
	for i := range 65 {
		hosts = append(hosts, fmt.Sprintf("h%d.test", i))
		paths = append(paths, fmt.Sprintf("/ws%d", i))
	}
	parse := func(hostCount, pathCount int) []label.Fault {
		_, _, faults := label.Parse(map[string]string{
			"com.docker.lb.hosts":               strings.Join(hosts[:hostCount], ","),
			"com.docker.lb.websocket_endpoints": strings.Join(paths[:pathCount], ","),
		})
		return faults
	}
	if faults := parse(4, 64); faults != nil {
		t.Errorf("4 hosts with 64 paths: %+v", faults)
	}
	if faults := parse(64, 5); len(faults) != 1 || !faults[0].Fatal || faults[0].Label != "com.docker.lb.websocket_endpoints" {
		t.Errorf("64 hosts with 5 paths: %+v", faults)
	}
}

func TestAProtocolWithoutTLSAndTLSContradictEachOther(t *testing.T) {
	for protocol, refused := range map[string]bool{"h2c": true, "h2": false, "http1": false} {
		_, _, faults := label.Parse(map[string]string{
			"com.docker.lb.ssl_backend": "true", "com.docker.lb.upstream_protocol": protocol,
		})
		if (len(faults) == 1 && faults[0].Fatal && strings.Contains(faults[0].Message, "upstream_protocol=h2 ")) != refused {
			t.Errorf("%s with ssl_backend: %+v", protocol, faults)
		}
	}
}

func TestEveryExampleOfTheReferenceIsTaken(t *testing.T) {
	for _, d := range label.Definitions() {
		if fault := refusal(d.Name, d.Example); fault != "" {
			t.Errorf("%s=%s was refused: %s", d.Name, d.Example, fault)
		}
	}
}

func TestAFaultSaysWhatWouldBeRight(t *testing.T) {
	_, _, faults := label.Parse(map[string]string{"com.docker.lb.port": "http"})
	want := []label.Fault{{
		Kind: problem.BadLabel, Label: "com.docker.lb.port", Value: "http", Fatal: true,
		Message: "not a number; expected a port number from 1 to 65535, for example com.docker.lb.port=8080",
	}}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnknownLabelsAreToldButDoNotStopTheService(t *testing.T) {
	for name, want := range map[string]string{
		"host":                 "did you mean com.docker.lb.hosts?",
		"hosts ":               "did you mean com.docker.lb.hosts?",
		"ssl-only":             "did you mean com.docker.lb.ssl_only?",
		"nginx.server_snippet": "docs/labels.md lists those that exist",
		"":                     "docs/labels.md lists those that exist",
	} {
		_, _, faults := label.Parse(map[string]string{label.Prefix + name: "x"})
		if len(faults) != 1 || faults[0].Fatal || faults[0].Kind != problem.UnknownLabel || !strings.HasSuffix(faults[0].Message, want) {
			t.Errorf("label %q gave %+v, want one that ends in %q", name, faults, want)
		}
	}
}

func TestAServiceWithoutLabelsAsksForNothing(t *testing.T) {
	if _, asked, faults := label.Parse(map[string]string{"com.docker.stack.namespace": "shop"}); asked || faults != nil {
		t.Errorf("asked = %v, faults = %v", asked, faults)
	}
}

func TestDefaultsHoldWhereLabelsAreAbsent(t *testing.T) {
	set, _, _ := label.Parse(nil)
	want := label.Set{ContextRoot: "/", BackendMode: label.BackendTask, UpstreamProtocol: label.HTTP1}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReferencePageIsUpToDate(t *testing.T) {
	const page = "../../docs/labels.md"
	var want bytes.Buffer
	if err := label.WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/labels.md is not what definitions.go says; run go test ./internal/label -update (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, d := range label.Definitions() {
		f.Add(d.Name, d.Example)
	}
	f.Add("hosts", "x.test;}server{listen 80;")
	f.Fuzz(func(t *testing.T, name, value string) {
		set, _, faults := label.Parse(map[string]string{label.Prefix + name: value})
		for _, fault := range faults {
			if fault.Fatal {
				return
			}
		}
		for _, text := range append(append(append([]string{}, set.Hosts...), set.WebsocketEndpoints...),
			set.ContextRoot, set.Network, set.ServiceCluster, set.SSLCert, set.SSLKey, set.StickySessionCookie) {
			if strings.ContainsAny(text, " \t\r\n\x00;{}()$\"'\\#%?~^|<>`&") {
				t.Errorf("%s=%q let %q through", name, value, text)
			}
		}
	})
}
