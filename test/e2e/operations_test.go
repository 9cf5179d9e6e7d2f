package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOperationsRunAsWrittenWhileTrafficGoesOn(t *testing.T) {
	w := follow(t, "operations.md")
	if err := os.WriteFile(filepath.Join(w.folder, "config.toml"), []byte(twoProxies()), 0o600); err != nil {
		t.Fatal(err)
	}
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)

	traffic := startTraffic(t, "demo.local", loadBalancers...)
	w.section(t, "Change the configuration")
	w.section(t, "A configuration with faults")
	waitForLog(t, "PollIntervall: unknown key; did you mean PollInterval?")
	waitForLog(t, "PublishedPort: 80000 is out of range")
	traffic.stop(t)
	// The core that is back still routes what is new.
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)

	w.section(t, "Change the proxies by hand")
	if got := inspectProxy(t, "{{.Spec.TaskTemplate.Placement.Constraints}} {{.Spec.Mode.Replicated.Replicas}}"); got != "[node.labels.nodetype==loadbalancer] 2" {
		t.Errorf("the constraints and replicas set by hand are now %s", got)
	}
	waitForProxies(t, loadBalancers...)
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
}
