package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// clustersConfig has two service clusters on the same ports, each with proxies
// on nodes of its own.
func clustersConfig() string {
	config := "PollInterval = \"3s\"\n"
	for _, name := range []string{"us-east", "us-west"} {
		config += fmt.Sprintf(`
[Extensions.%[1]s]
  Image = %[2]q
  ServiceName = "interlock-ext-%[1]s"
  ProxyImage = %[3]q
  ProxyServiceName = "interlock-proxy-%[1]s"
  ProxyConstraints = ["node.labels.region==%[1]s"]
  ServiceCluster = %[1]q
  PublishMode = "host"
  PublishedPort = 80
`, name, site.Image("interlock-extension"), site.Image("interlock-proxy"))
	}
	return config
}

func TestServiceClustersServeTheirOwnAndLeaveOneAnotherAlone(t *testing.T) {
	i := newInstallation(t)
	docker(t, "node", "update", "--label-add", "region=us-east", "lb-00")
	docker(t, "node", "update", "--label-add", "region=us-west", "lb-01")
	i.create(clustersConfig())
	createApp(t, "east", "shop.local", "--label", "com.docker.lb.service_cluster=us-east")
	createApp(t, "west", "shop.local", "--label", "com.docker.lb.service_cluster=us-west")
	waitForAnswer(t, "shop.local", "east", "lb-00")
	waitForAnswer(t, "shop.local", "west", "lb-01")

	before := westState(t)
	docker(t, "service", "scale", "--detach", "east=3")
	waitForInstances(t, "lb-00", "shop.local", 3)
	createApp(t, "news", "news.local", "--label", "com.docker.lb.service_cluster=us-east")
	waitForAnswer(t, "news.local", "news", "lb-00")
	waitForStatus(t, "lb-01", "news.local", 503)
	if after := westState(t); after != before {
		t.Errorf("changes in us-east changed us-west from\n%s\nto\n%s", before, after)
	}
}

// westState is what of us-west must not change: its services, the bundle that
// its proxy serves and since when, and nginx's processes.
func westState(t *testing.T) string {
	t.Helper()
	var state []string
	for _, service := range []string{"interlock-ext-us-west", "interlock-proxy-us-west"} {
		state = append(state, docker(t, "service", "inspect", "-f", "{{.Spec.Name}} at version {{.Version.Index}}", service))
	}
	status, err := health(t.Context(), hostPort(t, "interlock-proxy-us-west", "7480"))
	if err != nil {
		t.Fatal(err)
	}
	state = append(state, fmt.Sprintf("bundle %v since %v", status["bundleVersion"], status["since"]))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	container, err := cluster.Node("lb-01").Docker(ctx, "ps", "-q", "--filter", "name=interlock-proxy-us-west")
	if err != nil {
		t.Fatal(err)
	}
	processes, err := cluster.Node("lb-01").Docker(ctx, "top", container, "-eo", "pid,args")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append(state, processes), "\n")
}
