package nginx_test

import (
	"fmt"
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
	builtin := rendernginx.Renderer{ServerInfo: "interlock/test", StatusSocket: r.path("run/status.sock"), TempDir: r.path("state/nginx")}
	return template.New(builtin, "my.conf", text).Render(table, render.Parameters{
		Port: r.port, SSLPort: freePort(r.t), ConfigPath: r.path("etc/nginx.conf"),
		Config: map[string]any{
			"User": "root", "PidPath": r.path("pid"), "RLimitNoFile": "1024",
			"AccessLogPath": r.path("access.log"), "ErrorLogPath": r.path("error.log"),
		},
	}, nil)
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
	return string(text)
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
