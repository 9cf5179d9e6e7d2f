package e2e

import (
	"context"
	"strings"
	"testing"
)

func TestAnAppWhosePortHasOneNumberForIPv4AndAnotherForIPv6IsReached(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	// A port that is taken for IPv6 only makes the engine pick two numbers.
	node := cluster.Node("worker-02")
	other, err := node.Docker(t.Context(), "run", "--detach", "--publish", "[::]::8080", image("interlock-demo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := node.Docker(context.Background(), "rm", "--force", strings.TrimSpace(other)); err != nil {
			t.Error(err)
		}
	})
	createApp(t, "demo", "demo.local", "--constraint", "node.hostname==worker-02", "--replicas", "3")
	waitForInstances(t, "lb-00", "demo.local", 3)
	if !picksTwoNumbers(t, "demo") {
		t.Error("this engine picked one number for both families, so the test has shown nothing")
	}
}

// picksTwoNumbers says whether a task has two ports for its one target.
func picksTwoNumbers(t *testing.T, service string) bool {
	t.Helper()
	for task := range strings.FieldsSeq(docker(t, "service", "ps", "--quiet", service)) {
		ports := strings.Fields(docker(t, "inspect", "-f", "{{range .Status.PortStatus.Ports}}{{.PublishedPort}} {{end}}", task))
		if len(ports) == 2 && ports[0] != ports[1] {
			return true
		}
	}
	return false
}
