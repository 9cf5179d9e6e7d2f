package nginx

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// secured is a table with one host and what is at hand for it.
func secured() (*route.Table, render.Credentials) {
	t := tableOf(1, 1)
	t.Hosts[0].Credential = &route.Credential{Chain: route.Material{Name: "shop.cert", ID: "1"}, Key: route.Material{Name: "shop.key", ID: "2"}}
	return t, render.Credentials{t.Hosts[0].Name: {Chain: []byte("chain"), Key: []byte("key")}}
}

func renderSecured(t *testing.T, config map[string]any, change func(*render.Parameters)) render.Bundle {
	t.Helper()
	table, credentials := secured()
	p := parameters(config)
	p.SSLPort = 443
	if change != nil {
		change(&p)
	}
	b, err := new(Renderer).Render(table, p, credentials)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mainFile(t *testing.T, b render.Bundle) string {
	t.Helper()
	i := slices.IndexFunc(b.Files, func(f render.File) bool { return strings.HasSuffix(f.Path, "nginx.conf") })
	if i < 0 {
		t.Fatal("there is no nginx.conf")
	}
	return string(b.Files[i].Data())
}

func TestAKeyIsInASensitiveFileThatIsNamedByItsContent(t *testing.T) {
	b := renderSecured(t, nil, nil)
	var sensitive []render.File
	for _, f := range b.Files {
		if f.Sensitive {
			sensitive = append(sensitive, f)
		} else if strings.Contains(string(f.Data()), "key\n") {
			t.Errorf("%s holds the key", f.Path)
		}
	}
	if len(sensitive) != 1 || sensitive[0].Mode != 0o600 || string(sensitive[0].Data()) != "chain\nkey" ||
		!strings.HasPrefix(sensitive[0].Path, render.SensitiveDir+"/") || !strings.Contains(mainFile(t, b), sensitive[0].Path) {
		t.Errorf("got %+v", sensitive)
	}
	table, credentials := secured()
	credentials[table.Hosts[0].Name] = render.Pair{Chain: []byte("chain"), Key: []byte("another")}
	p := parameters(nil)
	p.SSLPort = 443
	renewed, err := new(Renderer).Render(table, p, credentials)
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Token == b.Token || renewed.Version() == b.Version() {
		t.Error("a renewed key changes neither token nor version")
	}
}

func TestProxiesThatHaveTheCredentialsGetNoKey(t *testing.T) {
	b := renderSecured(t, nil, func(p *render.Parameters) { p.MountedCredentials = true })
	if len(b.Files) != 1 {
		t.Errorf("the bundle has %d files", len(b.Files))
	}
	conf := mainFile(t, b)
	for _, want := range []string{`ssl_certificate "/run/secrets/shop.cert";`, `ssl_certificate_key "/run/secrets/shop.key";`} {
		if !strings.Contains(conf, want) {
			t.Errorf("nginx.conf lacks %s", want)
		}
	}
}

func TestDiffieHellmanParametersAreThoseThatTheOperatorWants(t *testing.T) {
	for _, c := range []struct {
		config map[string]any
		want   string // a path; empty: no such key exchange
		file   bool
	}{
		{nil, "", false},
		{map[string]any{"SSLDefaultDHParam": int64(1024)}, "/etc/nginx/ffdhe2048.pem", true},
		{map[string]any{"SSLDefaultDHParam": int64(3000)}, "/etc/nginx/ffdhe3072.pem", true},
		{map[string]any{"SSLDefaultDHParam": int64(8192)}, "/etc/nginx/ffdhe8192.pem", true},
		{map[string]any{"SSLDefaultDHParam": int64(4096), "SSLDefaultDHParamPath": "/own.pem"}, "/own.pem", false},
	} {
		b := renderSecured(t, c.config, nil)
		conf := mainFile(t, b)
		named := c.want
		if c.file {
			named = path.Base(c.want) // as seen from the configuration, wherever it is checked
		}
		if got := strings.Contains(conf, "ssl_dhparam"); got != (c.want != "") || c.want != "" && !strings.Contains(conf, `ssl_dhparam "`+named+`";`) {
			t.Errorf("%v: want ssl_dhparam %q", c.config, c.want)
		}
		i := slices.IndexFunc(b.Files, func(f render.File) bool { return f.Path == c.want })
		if (i >= 0) != c.file || c.file && !strings.Contains(string(b.Files[i].Data()), "BEGIN DH PARAMETERS") {
			t.Errorf("%v: the bundle has the file %s: %v, want %v", c.config, c.want, i >= 0, c.file)
		}
	}
}

func TestTLSNeedsAPort(t *testing.T) {
	table, credentials := secured()
	p := parameters(nil)
	p.SSLPort = 0
	if _, err := new(Renderer).Render(table, p, credentials); err == nil || !strings.Contains(err.Error(), "TargetSSLPort") {
		t.Errorf("got error %v", err)
	}
}

func TestAStreamModuleThatTheOperatorLoadsIsNotLoadedTwice(t *testing.T) {
	for line, want := range map[string]bool{
		"worker_priority 1": true, "load_module modules/ngx_stream_module.so": false, "include /etc/nginx/modules-enabled/*.conf;": false,
		"load_module modules/ngx_mail_module.so": true,
	} {
		conf := mainFile(t, renderSecured(t, map[string]any{"TCPOptions": []any{"preread_timeout 5s"}, "GlobalOptions": []any{line}}, nil))
		if got := strings.Contains(conf, "include \"/etc/nginx/modules-enabled/*.conf\";"); got != want {
			t.Errorf("with %q: loaded %v, want %v", line, got, want)
		}
	}
}

func TestMapsTakeNoHostNameForAWordOfTheirs(t *testing.T) {
	for name, want := range map[string]string{
		"default": `"\\default"`, "Volatile": `"\\Volatile"`, "default.test": `"default.test"`, "*.a.test": `"*.a.test"`,
	} {
		if got, err := mapKey(name).text(); err != nil || got != want {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"~a", "", ".a.test", "a b", `\default`, "a;"} {
		if got, err := mapKey(name).text(); err == nil {
			t.Errorf("%q was written as %s", name, got)
		}
	}
}
