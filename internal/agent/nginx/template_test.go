package nginx_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	rendernginx "github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/render/nginx/template"
	"github.com/interlock-lb/interlock/internal/route"
)

// fromTemplate renders a table with a template and the rig's places.
func (r *rig) fromTemplate(text string, table *route.Table) (render.Bundle, error) {
	builtin := rendernginx.Renderer{ServerInfo: "interlock/test", StatusSocket: r.path("run/status.sock"), TempDir: r.path("state/nginx"), KeyDir: r.path("keys")}
	return template.New(builtin, "my.conf", text).Render(table, render.Parameters{
		Port: r.port, SSLPort: r.sslPort, PublishedSSLPort: r.sslPort, ConfigPath: r.path("etc/nginx.conf"),
		Config: map[string]any{
			"User": "root", "PidPath": r.path("pid"), "RLimitNoFile": "1024",
			"AccessLogPath": r.path("access.log"), "ErrorLogPath": r.path("error.log"),
		},
	}, r.credentials)
}

func (r *rig) mustTemplate(text string, table *route.Table) render.Bundle {
	r.t.Helper()
	b, err := r.fromTemplate(text, table)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func documentedTemplate(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/custom-template.conf")
	if err != nil {
		t.Fatal(err)
	}
	// Keys are told of as seen from /run/secrets, which this machine may not
	// have: /usr/bin is as far from the root.
	return strings.ReplaceAll(string(text), render.MountedDir, "/usr/bin")
}

func TestTheDocumentedTemplateServesTheAppAndIsInEffectWhenApplyReturns(t *testing.T) {
	r := newRig(t)
	one, two := app(t, "one"), app(t, "two")
	text := documentedTemplate(t)
	for range 3 {
		r.apply(r.mustTemplate(text, tableFor(one)))
		r.answers("one")
		r.apply(r.mustTemplate(text, tableFor(two)))
		r.answers("two")
	}
	for host, want := range map[string]int{"demo.local": 200, "nobody.example.com": 503} {
		if got, err := r.get(host, "/"); err != nil || got.status != want {
			t.Errorf("%s: %d %v, want %d", host, got.status, err, want)
		}
	}
}

func TestATemplateThatNginxRefusesLeavesTheLastGoodBundle(t *testing.T) {
	r := newRig(t)
	one := app(t, "one")
	text := documentedTemplate(t)
	r.apply(r.mustTemplate(text, tableFor(one)))
	bad := strings.Replace(text, "\nhttp {", "\nhttp {\n    no_such_directive on;", 1)
	reason := r.refused(r.mustTemplate(bad, tableFor(one)))
	if !strings.Contains(reason, `unknown directive "no_such_directive"`) || !strings.Contains(reason, "/nginx.conf:") {
		t.Errorf("nginx's words do not say what is wrong, and where: %s", reason)
	}
	r.answers("one")
}

func TestATemplateThatLogsElsewhereStillSaysWhyAReloadFailed(t *testing.T) {
	r := newRig(t)
	one := app(t, "one")
	text := documentedTemplate(t)
	r.apply(r.mustTemplate(text, tableFor(one)))
	listener, port := takePort(t)
	defer listener.Close()
	table := tableFor(one)
	taken := strings.ReplaceAll(text, "listen {{ .Port }} default_server;", fmt.Sprintf("listen {{ .Port }} default_server; listen 127.0.0.1:%d;", port))
	if reason := r.refused(r.mustTemplate(taken, table)); !strings.Contains(reason, "Address already in use") {
		t.Errorf("the reason is %s", reason)
	}
	r.answers("one")
}

func TestWithTheDocumentedTemplateTLSEndsAtTheProxyOrGoesThrough(t *testing.T) {
	s := newSecure(t)
	// Ports inside the proxy follow from names: others on this machine need others.
	name := func(host string) string { return fmt.Sprintf("%s-%d.test", host, s.port) }
	ended, strict, wild, through, plain := name("ended"), name("strict"), "*."+name("wild"), name("through"), name("plain")
	ofWild := s.certify(wild, wild)
	ofWild.Chain.Name, ofWild.Key.Name = "wild.pem", "wild.pem"
	table := &route.Table{
		Hosts: []route.VirtualHost{
			{Name: wild, Credential: ofWild, Routes: root("wild")},
			{Name: ended, Credential: s.certify(ended, ended), Routes: root("ended")},
			{Name: plain, Routes: root("ended")},
			{Name: strict, Credential: s.certify(strict, strict), Routes: []route.Route{{PathPrefix: "/", TLSOnly: true, Forward: to("ended")}}},
		},
		Passthrough: []route.Passthrough{{Name: through, Forward: to("through"), RedirectPlain: true}},
		Upstreams: []route.Upstream{
			upstream("ended", showsHeaders(t)), upstream("through", s.tlsApp(through)), upstream("wild", app(t, "wild")),
		},
	}
	s.apply(s.mustTemplate(documentedTemplate(t), table))

	if _, body := s.gets(through, "/"); body != "the task itself" {
		t.Errorf("%s was answered with %q", through, body)
	}
	if _, body := s.gets("x."+strings.TrimPrefix(wild, "*."), "/"); body != "wild" {
		t.Errorf("a name below %s was answered with %q", wild, body)
	}
	response, body := s.gets(strict, "/")
	for _, want := range []string{`"X-Forwarded-Proto":["https"]`, `"X-Real-Ip":["127.0.0.1"]`} {
		if response.StatusCode != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: the app does not see %s: %s, %s", strict, want, response.Status, body)
		}
	}
	for _, host := range []string{plain, name("unknown"), ""} {
		if _, _, err := s.ask(s.client(host, func(c *tls.Config) { c.InsecureSkipVerify = true }), host, "/"); err == nil {
			t.Errorf("%q is served over TLS", host)
		}
	}
	if response, _, err := s.ask(s.client(ended), strict, "/"); err != nil || response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%s on a connection for %s: %v, %v", strict, ended, response, err)
	}
	for host, want := range map[string]int{ended: 200, plain: 200, strict: 302, through: 302} {
		got, err := s.send(host, "/x", nil)
		if err != nil || got.status != want {
			t.Errorf("http://%s: %d, %v, want %d", host, got.status, err, want)
		}
		if location := fmt.Sprintf("https://%s:%d/x", host, s.sslPort); want == 302 && got.header.Get("Location") != location {
			t.Errorf("http://%s is redirected to %s", host, got.header.Get("Location"))
		}
	}
}

func TestWithTheDocumentedTemplateARenewedCertificateTakesEffect(t *testing.T) {
	s := newSecure(t)
	host := fmt.Sprintf("renewed-%d.test", s.port)
	table := &route.Table{
		Hosts:     []route.VirtualHost{{Name: host, Credential: s.certify(host, host), Routes: root("a")}},
		Upstreams: []route.Upstream{upstream("a", app(t, "a"))},
	}
	s.apply(s.mustTemplate(documentedTemplate(t), table))
	before, master := s.shown(host), s.master()
	s.certify(host, host)
	s.apply(s.mustTemplate(documentedTemplate(t), table))
	if after := s.shown(host); after.SerialNumber.Cmp(before.SerialNumber) == 0 {
		t.Error("new connections are shown the old certificate")
	}
	if s.master() != master {
		t.Error("nginx was restarted")
	}
}
