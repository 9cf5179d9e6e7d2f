package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

func TestServiceClustersServeTheirOwnAndLeaveOneAnotherAlone(t *testing.T) {
	newInstallation(t)
	w := follow(t, "service-clusters.md")
	w.section(t, "Set nodes aside for each cluster")
	w.section(t, "Install Interlock")
	w.section(t, "Deploy apps")
	before := westState(t)
	w.section(t, "Change one cluster")
	waitForInstances(t, "lb-00", "shop.local", 3)
	if after := westState(t); after != before {
		t.Errorf("changes in us-east changed us-west from\n%s\nto\n%s", before, after)
	}
}

// westState is what of us-west must not change: its services, the bundles that
// its proxies serve and since when, and their processes.
func westState(t *testing.T) string {
	t.Helper()
	var state []string
	for _, service := range []string{"interlock-ext-us-west", "interlock-proxy-us-west"} {
		state = append(state, docker(t, "service", "inspect", "-f", "{{.Spec.Name}} at version {{.Version.Index}}", service))
	}
	out := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}}", "interlock-proxy-us-west")
	for line := range strings.Lines(out) {
		name, task, _ := strings.Cut(strings.TrimSpace(line), " ")
		node := cluster.Node(name)
		status, err := health(t.Context(), net.JoinHostPort(node.Address(), enginePort(t, task, "7480")))
		if err != nil {
			t.Fatal(err)
		}
		state = append(state, fmt.Sprintf("bundle %v since %v", status["bundleVersion"], status["since"]), proxyProcesses(t, node))
	}
	return strings.Join(state, "\n")
}

// proxyProcesses lists the processes of the proxy on a node.
func proxyProcesses(t *testing.T, node *lab.Node) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	container, err := node.Docker(ctx, "ps", "-q", "--filter", "name=interlock-proxy")
	if err != nil {
		t.Fatal(err)
	}
	processes, err := node.Docker(ctx, "top", container, "-eo", "pid,args")
	if err != nil {
		t.Fatal(err)
	}
	return processes
}
