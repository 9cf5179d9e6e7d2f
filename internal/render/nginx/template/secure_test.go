package template_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx/template"
	"github.com/interlock-lb/interlock/internal/route"
)

// proven is the shop, with a certificate.
func proven() *route.Table {
	t := shop()
	t.Hosts[0].Credential = &route.Credential{Chain: route.Material{Name: "shop.cert", ID: "1"}, Key: route.Material{Name: "shop.key", ID: "2"}}
	return t
}

const targets = `events {} http { # {{ range .Hosts }}{{ with index . 0 }}{{ .SSLCert }} {{ .SSLKey }} {{ .SSLCertTarget }} {{ .SSLKeyTarget }}{{ end }}{{ end }}
}`

// file returns the configuration of a bundle, and the paths of what holds keys.
func file(b render.Bundle) (conf string, sensitive []string) {
	for _, f := range b.Files {
		if f.Sensitive {
			sensitive = append(sensitive, f.Path)
		} else {
			conf = string(f.Data())
		}
	}
	return conf, sensitive
}

func TestATemplateIsToldOfTheFilesWithKeysThatItsBundleHas(t *testing.T) {
	table := proven()
	b, err := template.New(builtin, "my.conf", targets).Render(table, parameters(nil), standIns(table))
	if err != nil {
		t.Fatal(err)
	}
	conf, sensitive := file(b)
	if len(sensitive) != 1 || !strings.HasPrefix(sensitive[0], render.SensitiveDir+"/") {
		t.Fatalf("the bundle has the keys %q", sensitive)
	}
	target := "../interlock/tls" + strings.TrimPrefix(sensitive[0], render.SensitiveDir)
	if want := fmt.Sprintf("shop.cert shop.key %s %[1]s\n", target); !strings.Contains(conf, want) {
		t.Errorf("want %q in\n%s", want, conf)
	}
}

func TestATemplateForProxiesThatHaveTheSecretsIsToldTheirNames(t *testing.T) {
	table, p := proven(), parameters(nil)
	p.Agentless, p.MountedCredentials = true, true
	b, err := template.New(builtin, "my.conf", targets).Render(table, p, standIns(table))
	if err != nil {
		t.Fatal(err)
	}
	conf, sensitive := file(b)
	if want := "shop.cert shop.key shop.cert shop.key\n"; !strings.Contains(conf, want) || len(sensitive) > 0 {
		t.Errorf("want %q in\n%s\nand no keys: %q", want, conf, sensitive)
	}
}

func TestATemplateIsToldOfNoCertificateThatIsNotThere(t *testing.T) {
	b, err := template.New(builtin, "my.conf", targets+"# {{ len .SSLBackends }}\n").Render(proven(), parameters(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if conf, sensitive := file(b); !strings.HasPrefix(conf, "events {} http { #    \n") || !strings.Contains(conf, "}# 0\n") || len(sensitive) > 0 {
		t.Errorf("got\n%s\nand %q", conf, sensitive)
	}
}

func TestAHostWhoseTLSGoesThroughHasNoCertificateToo(t *testing.T) {
	table := proven()
	table.Passthrough = []route.Passthrough{{Name: table.Hosts[0].Name, Forward: table.Hosts[0].Routes[0].Forward}}
	if _, err := template.New(builtin, "my.conf", targets).Render(table, parameters(nil), standIns(table)); err == nil {
		t.Error("rendered without an error")
	}
}

func TestTheParametersThatTheOperatorWantsAreAFileBesideTheConfiguration(t *testing.T) {
	b, err := template.New(builtin, "my.conf", "events {} http { ssl_dhparam {{ .ExtensionConfig.SSLDefaultDHParamPath }}; }").
		Render(shop(), parameters(map[string]any{"SSLDefaultDHParam": float64(2048)}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Files) != 2 || b.Files[0].Path != "/etc/nginx/ffdhe2048.pem" || !strings.Contains(string(b.Files[1].Data()), "ssl_dhparam ffdhe2048.pem;") {
		t.Errorf("the files are %+v", b.Files)
	}
}

// ports are those of each host, as a template gets them.
func ports(t *testing.T, table *route.Table, p render.Parameters) map[string][2]int {
	t.Helper()
	const text = `events {} http { # {{ range $i, $b := .SSLBackends }}"{{ .Host }}": [{{ .Port }}, {{ .ProxyProtocolPort }}], {{ end }}"":[0, 0]
}`
	b, err := template.New(builtin, "my.conf", text).Render(table, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	conf, _ := file(b)
	line, _, _ := strings.Cut(strings.TrimPrefix(conf, "events {} http { # "), "\n")
	found := make(map[string][2]int)
	if err := json.Unmarshal([]byte("{"+line+"}"), &found); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	delete(found, "")
	return found
}

// manyThrough is a table whose hosts, of these numbers, are passed through.
func manyThrough(from, to int) *route.Table {
	table := shop()
	for i := from; i < to; i++ {
		table.Passthrough = append(table.Passthrough, route.Passthrough{Name: fmt.Sprintf("h%d.local", i), Forward: route.Forward{Upstreams: []string{"shop"}}})
	}
	return table
}

func TestNoPortIsOfTwoHostsNorOneThatIsTaken(t *testing.T) {
	p := parameters(nil)
	p.Port, p.SSLPort = 10241, 32767
	owners := map[int]string{int(p.Port): "TargetPort", int(p.SSLPort): "TargetSSLPort"}
	found := ports(t, manyThrough(0, 5_000), p)
	if len(found) != 5_000 {
		t.Fatalf("%d hosts have ports", len(found))
	}
	for host, pair := range found {
		for _, port := range pair {
			if other, twice := owners[port]; twice || port < 10240 || port > 32767 {
				t.Errorf("%s has %d, as %q", host, port, other)
			}
			owners[port] = host
		}
	}
}

func TestPortsOfAHostStayWhenOthersComeAndGo(t *testing.T) {
	all, fewer := ports(t, manyThrough(0, 1_000), parameters(nil)), ports(t, manyThrough(1, 1_000), parameters(nil))
	var moved []string
	for host, pair := range fewer {
		if all[host] != pair {
			moved = append(moved, host)
		}
	}
	if slices.Sort(moved); len(moved) > 1 {
		t.Errorf("with one host more, others have other ports: %q", moved)
	}
}

func TestMoreHostsThanPortsAreAnError(t *testing.T) {
	_, err := template.New(builtin, "my.conf", framed("")).Render(manyThrough(0, 12_000), parameters(nil), nil)
	if err == nil || !strings.Contains(err.Error(), "12000 hosts take TLS") {
		t.Errorf("got %v", err)
	}
}
