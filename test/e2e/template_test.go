package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/test/lab"
)

// templateConfig has a custom template, by the name of its config.
func templateConfig(name string) string {
	return site.ConfigWith("ProxyReplicas = 1", "ProxyReplicas = 2\n    Template = \""+name+"\"")
}

func TestACustomTemplateServesAndABrokenOneLeavesTrafficAlone(t *testing.T) {
	w := follow(t, "custom-template.md")
	i := install(t, templateConfig("my-template"))
	waitForLog(t, "no-config", "docker config create my-template")
	documented, err := os.ReadFile("../../docs/custom-template.conf")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(documented), "    server_tokens off;", "    server_tokens off;\n    add_header x-template ours always;", 1)
	if err := os.WriteFile(filepath.Join(w.folder, "custom-template.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.section(t, "Custom template")
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	checkTemplate(t)

	const good, bad = "{{ .User }}", "{{ .Users }}"
	storeConfig(t, "broken", strings.Replace(text, good, bad, 1))
	line := 1 + strings.Count(text[:strings.Index(text, good)], "\n")
	tr := startTraffic(t, "demo.local", loadBalancers...)
	i.reconfigure(templateConfig("broken"))
	waitForLog(t, "render-failed", fmt.Sprintf("%s:%d:", core.TemplateFile, line), "<.Users>")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	checkTemplate(t)
	tr.stop(t)

	i.reconfigure(templateConfig("my-template"))
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)

	proven := prove(t, "proven.local")
	createSecret(t, "proven.cert", proven.chain)
	createSecret(t, "proven.key", proven.key)
	createProvenApp(t, "proven", "proven.cert", "proven.key")
	waitForProof(t, "proven.local", "proven", proven, loadBalancers...)
}

func storeConfig(t *testing.T, name, content string) {
	t.Helper()
	if err := site.StoreConfig(t.Context(), name, content); err != nil {
		t.Fatal(err)
	}
}

// checkTemplate looks for the header that the test's template adds.
func checkTemplate(t *testing.T) {
	t.Helper()
	for _, node := range loadBalancers {
		answer, err := lab.Curl(t.Context(), "http://"+cluster.Node(node).Address()+"/ping", "Host: demo.local")
		if err != nil {
			t.Fatal(err)
		}
		if answer.Header.Get("x-template") != "ours" {
			t.Errorf("%s answers without the template's header: %v", node, answer.Header)
		}
	}
}
