package template_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/render/nginx/template"
	"github.com/interlock-lb/interlock/internal/route"
)

var update = flag.Bool("update", false, "write the golden files anew")

var builtin = nginx.Renderer{ServerInfo: "interlock/0.1.0 (abcdef0) linux/amd64"}

func parameters(config map[string]any) render.Parameters {
	return render.Parameters{Port: 18080, SSLPort: 18443, PublishedSSLPort: 8443, ConfigPath: "/etc/nginx/nginx.conf", Config: config}
}

func rendered(text string, t *route.Table, config map[string]any) (string, error) {
	b, err := template.New(builtin, "my.conf", text).Render(t, parameters(config), standIns(t))
	if err != nil {
		return "", err
	}
	return string(b.Files[0].Data()), nil
}

// standIns are texts in place of what an extension would have found, for all
// hosts of a table but those that none is there for.
func standIns(t *route.Table) render.Credentials {
	c := make(render.Credentials)
	for _, h := range t.Hosts {
		if h.Credential != nil && h.Credential.Chain.Name != "absent" {
			c[h.Name] = render.Pair{Chain: []byte("chain of " + h.Name), Key: []byte("key of " + h.Name)}
		}
	}
	return c
}

// Each golden has a table, the operator's keys, a template and what comes out.
// Without a template of its own it uses the one of the documentation.
func TestTemplatesBecomeTheseFilesAndNginxAcceptsThem(t *testing.T) {
	goldens, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range goldens {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := renderGolden(t, archive)
			t.Run("as expected", func(t *testing.T) { compareGolden(t, path, archive, got) })
			t.Run("accepted by nginx", func(t *testing.T) { acceptedByNginx(t, got) })
		})
	}
}

func renderGolden(t *testing.T, archive *txtar.Archive) []byte {
	t.Helper()
	text := example(t)
	var table route.Table
	var config map[string]any
	for _, f := range archive.Files {
		var err error
		switch f.Name {
		case "table.json":
			err = json.Unmarshal(f.Data, &table)
		case "config.json":
			err = json.Unmarshal(f.Data, &config)
		case "template":
			text = string(f.Data)
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	got, err := rendered(text, &table, config)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(got)
}

func compareGolden(t *testing.T, path string, archive *txtar.Archive, got []byte) {
	t.Helper()
	last := &archive.Files[len(archive.Files)-1]
	if last.Name != "nginx.conf" {
		t.Fatalf("%s: the last file is %s, want nginx.conf", path, last.Name)
	}
	if *update {
		last.Data = got
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(last.Data), string(got)); diff != "" {
		t.Errorf("%s (run with -update to accept; -want +got):\n%s", path, diff)
	}
}

func acceptedByNginx(t *testing.T, conf []byte) {
	t.Helper()
	dir := t.TempDir()
	proof(t, conf, dir)
	fixture.NginxAccepts(t, conf, nil, dir, map[string]string{
		nginx.TempDir: dir, nginx.StatusSocket: dir + "/status.sock", "/var/run/proxy.pid": dir + "/pid", render.MountedDir: dir + render.MountedDir,
	})
}

// proof puts a real certificate and its key where a file looks for one, as far as
// the folders of a proxy's container lead there.
func proof(t *testing.T, conf []byte, dir string) {
	t.Helper()
	chain, key := fixture.NewAuthority(t).Issue(t, []string{"shop.local"})
	for _, folder := range []string{render.MountedDir, render.SensitiveDir} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, found := range regexp.MustCompile(`ssl_certificate(?:_key)? (\S+);`).FindAllSubmatch(conf, -1) {
		if err := os.WriteFile(filepath.Join(dir, string(found[1])), slices.Concat(chain, key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// example is the template that the documentation shows.
func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/custom-template.conf")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shop is a table with one host, shop.local, and one target.
func shop() *route.Table {
	return &route.Table{
		Hosts: []route.VirtualHost{{Name: "shop.local", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"shop"}}}}}},
		Upstreams: []route.Upstream{{Name: "shop", Endpoints: []route.Endpoint{
			{Addr: netip.MustParseAddrPort("10.0.0.1:8080"), Task: "t1"},
		}}},
	}
}

const frame = "events {}\nhttp {\n%s\n}\n"

func framed(text string) string { return strings.Replace(frame, "%s", text, 1) }

func TestWhatFailsSaysWhere(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"a template that cannot be parsed":   {"events {}\n{{ if .Port }}\n", []string{"my.conf:3", "unexpected EOF"}},
		"a function that nobody knows":       {"\n{{ secretsOf .Hosts }}", []string{"my.conf:2", `"secretsOf" not defined`}},
		"a key that nobody knows":            {"events {}\nuser {{ .ExtensionConfig.Users }};\n", []string{"my.conf:2:", ".ExtensionConfig.Users"}},
		"an index out of range":              {"\n\n{{ range .Hosts }}{{ index . 7 }}{{ end }}", []string{"my.conf:3:", "index . 7"}},
		"a loop without an end":              {"\n{{ range 100000000000 }}{{ end }}", []string{"my.conf:2:", "taken 20060 steps"}},
		"loops within loops":                 {"{{ range 10000 }}\n{{ range 10000 }}{{ if true }}{{ end }}{{ end }}{{ end }}", []string{"my.conf:2:", "taken 20060 steps"}},
		"a template that calls itself":       {"{{ define \"a\" }}{{ template \"a\" }}{{ end }}\n{{ template \"a\" }}", []string{"my.conf:1:", "taken 20060 steps"}},
		"output beyond all bounds":           {"{{ range 1000 }}" + strings.Repeat("x", 40_000) + "{{ end }}", []string{"larger than 32 MiB"}},
		"a text that doubles":                {`{{ $x := "0123456789" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}`, []string{"a text is larger than 32 MiB"}},
		"a block that is not closed":         {"events {}\nhttp {\n", []string{"not closed"}},
		"a block that is closed twice":       {"events {}\n}\nhttp {}\n", []string{"line 2"}},
		"a file that ends within a word":     {"events {} http {} user \"root;\n", []string{"not closed"}},
		"a template that wants another type": {"{{ if gt .Version 0 }}{{ end }}", []string{"my.conf:1:", "incompatible types"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rendered(c.text, shop(), nil)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in: %v", want, err)
				}
			}
		})
	}
}

func TestTheSameTableGivesTheSameBytes(t *testing.T) {
	table := shop()
	for _, name := range []string{"b.local", "a.local", "c.local", "*.c.local"} {
		table.Hosts = append(table.Hosts, route.VirtualHost{Name: name, Routes: table.Hosts[0].Routes})
	}
	config := map[string]any{"HTTPOptions": []any{"gzip on;", "etag off;"}, "MaxConnections": float64(99)}
	first, err := rendered(example(t), table, config)
	if err != nil {
		t.Fatal(err)
	}
	r := template.New(builtin, "my.conf", example(t))
	for range 10 {
		again, err := r.Render(table, parameters(maps.Clone(config)), nil)
		if err != nil || first != string(again.Files[0].Data()) {
			t.Fatalf("a second rendering differs from the first: %v", err)
		}
	}
}

func TestTheFileAnswersItsTokenWhateverTheTemplateIs(t *testing.T) {
	tokens := make(map[string]string)
	for name, text := range map[string]string{
		"an empty http block":                  "events {} http{}",
		"a file without http":                  "events {}",
		"a comment at the end":                 "events {}\nhttp { # }\n}\n# http {",
		"braces within words":                  "events {}\nhttp { log_format main '}{ $request'; map $uri $x { \"}\" ${uri}; } }",
		"the status server where it was asked": framed("{{ interlockStatus }} client_body_temp_path /var/lib/interlock/nginx/x;"),
		"folders of its own":                   framed("client_body_temp_path /var/lib/interlock/nginx/mine; proxy_temp_path /var/lib/interlock/nginx/too;"),
		"an end of old workers of its own":     "worker_shutdown_timeout 5s; events {}",
		"a stream block":                       "events {} stream { server { listen 127.0.0.1:18099; return x; } }",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := template.New(builtin, "my.conf", text).Render(shop(), parameters(nil), nil)
			if err != nil {
				t.Fatal(err)
			}
			conf := b.Files[0].Data()
			if n := bytes.Count(conf, []byte(`return 200 "`+b.Token+`"`)); n != 1 || b.Token == "" {
				t.Errorf("the token %q is answered %d times, want once, in:\n%s", b.Token, n, conf)
			}
			if other, twice := tokens[b.Token]; twice {
				t.Errorf("the file has the token of %q", other)
			}
			tokens[b.Token] = name
			acceptedByNginx(t, conf)
		})
	}
}

func TestAFileForAProxyWithoutAnAgentIsWhatTheTemplateRenders(t *testing.T) {
	p := parameters(nil)
	p.Agentless = true
	b, err := template.New(builtin, "my.conf", "events {}\nhttp { {{ interlockStatus }} }").Render(shop(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b.Files[0].Data()), "events {}\nhttp {  }"; got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
}

func TestNginxCountsLinesAsTheTemplateDoes(t *testing.T) {
	text := "events {}\nhttp {\n  gzip on;\n}\nstream {\n}\nthe_last line;\n"
	got, err := rendered(text, shop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if line := strings.Count(got[:strings.Index(got, "the_last")], "\n") + 1; line != 7 {
		t.Errorf("line 7 is now line %d:\n%s", line, got)
	}
}

func TestWhatCannotStandInAFileWithoutQuotesIsRefused(t *testing.T) {
	for name, change := range map[string]func(*route.Table){
		"a host":            func(t *route.Table) { t.Hosts[0].Name = "x; return 200" },
		"no host":           func(t *route.Table) { t.Hosts[0].Name = "" },
		"a path":            func(t *route.Table) { t.Hosts[0].Routes[0].PathPrefix = "/a b" },
		"a websocket path":  func(t *route.Table) { t.Hosts[0].Routes[0].Websockets = []string{"/{"} },
		"a cookie":          func(t *route.Table) { t.Hosts[0].Routes[0].Forward.Affinity.Cookie = "$x" },
		"a redirect":        func(t *route.Table) { t.Hosts[0].Redirects = []route.Redirect{{Scheme: "http", Target: "http://a\nb"}} },
		"an upstream":       func(t *route.Table) { t.Upstreams = nil },
		"a host that twice": func(t *route.Table) { t.Hosts = append(t.Hosts, t.Hosts[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			table := shop()
			change(table)
			if _, err := rendered(framed(""), table, nil); err == nil {
				t.Error("rendered without an error")
			}
		})
	}
}

func TestOptionsThatAreNotValidAreNamed(t *testing.T) {
	if _, err := rendered(framed(""), shop(), map[string]any{"Nonsense": true}); err == nil || !strings.Contains(err.Error(), "Nonsense") {
		t.Errorf("want the key in: %v", err)
	}
	if _, err := template.New(builtin, "x", framed("")).Render(shop(), render.Parameters{ConfigPath: "nginx.conf"}, nil); err == nil {
		t.Error("a path that is not absolute was taken")
	}
}

func TestWhatIsForTLSOnlyIsNotServedPlainly(t *testing.T) {
	table := shop()
	for i := range table.Hosts {
		for j := range table.Hosts[i].Routes {
			table.Hosts[i].Routes[j].TLSOnly = true
		}
		table.Hosts[i].Redirects = nil
	}
	got, err := rendered("events {}\nhttp { # {{ range $host, $backends := .Hosts }}{{ $host }} {{ end }}\n}", table, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range table.Hosts {
		if strings.Contains(got, h.Name) {
			t.Errorf("the template gets %s", h.Name)
		}
	}
}
