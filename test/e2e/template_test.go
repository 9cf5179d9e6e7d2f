package e2e

import (
	"fmt"
	"os"
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
	i := install(t, templateConfig("ours"))
	waitForLog(t, "no-config", "docker config create ours")
	documented, err := os.ReadFile("../../docs/custom-template.conf")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(documented), "    server_tokens off;", "    server_tokens off;\n    add_header x-template ours always;", 1)
	storeConfig(t, "ours", text)
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

	i.reconfigure(templateConfig("ours"))
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
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
