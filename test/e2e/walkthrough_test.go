package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

func TestTheHostModeWalkthroughRunsAsWritten(t *testing.T) {
	newInstallation(t)
	w := follow(t, "host-mode.md")
	w.section(t, "Set the load balancers aside")
	w.section(t, "Install Interlock")
	w.section(t, "Deploy an app")

	nodes := proxyNodes(t)
	if len(nodes) != 1 || !strings.HasPrefix(nodes[0], "lb-") {
		t.Fatalf("the proxy runs on %v, want one load balancer", nodes)
	}
	answer, pong, err := site.Ping(t.Context(), nodes[0], "demo.local")
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, answer, pong)
	checkNoOverlay(t)
}

func checkAnswer(t *testing.T, answer lab.Answer, p walkthrough.Pong) {
	t.Helper()
	for header, pattern := range map[string]string{
		"X-Request-Id":             `^[0-9a-f]{32}$`,
		"X-Proxy-Id":               `^[0-9a-f]{12}$`,
		"X-Server-Info":            `^interlock/` + version + ` \([0-9a-z]+\) linux/\w+$`,
		"X-Upstream-Response-Time": `^[0-9.]+$`,
		"Set-Cookie":               `^session=\d+; Path=/; Expires=.*; Max-Age=86400$`,
		"Server":                   `^nginx`,
		"Content-Type":             `^text/plain; charset=utf-8$`,
	} {
		if value := answer.Header.Get(header); !regexp.MustCompile(pattern).MatchString(value) {
			t.Errorf("%s is %q, want %s", header, value, pattern)
		}
	}
	if p.Version != "0.1" || p.Metadata != "demo" || p.RequestID != answer.Header.Get("X-Request-Id") || len(p.Instance) != 12 {
		t.Errorf("the demo app says %+v", p)
	}
	want := publishedAddress(t, "demo")
	if got := answer.Header.Get("X-Upstream-Addr"); got != want.String() {
		t.Errorf("X-Upstream-Addr is %q, want the node's address and the port that the engine picked, %s", got, want)
	}
}

// publishedAddress asks the engine of the task's node which port it picked.
func publishedAddress(t *testing.T, service string) netip.AddrPort {
	t.Helper()
	task := strings.Fields(docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}}", service))
	node := cluster.Node(task[0])
	container := docker(t, "inspect", "-f", "{{.Status.ContainerStatus.ContainerID}}", task[1])
	out, err := node.Docker(context.Background(), "port", container, "8080/tcp")
	if err != nil {
		t.Fatal(err)
	}
	bound := netip.MustParseAddrPort(strings.Fields(out)[0])
	return netip.AddrPortFrom(netip.MustParseAddr(node.Address()), bound.Port())
}

func checkNoOverlay(t *testing.T) {
	t.Helper()
	for _, service := range []string{"interlock", "interlock-ext", "interlock-proxy", "demo"} {
		if networks := docker(t, "service", "inspect", "-f", "{{len .Spec.TaskTemplate.Networks}}", service); networks != "0" {
			t.Errorf("%s is attached to %s networks, want none", service, networks)
		}
	}
	for _, n := range strings.Fields(docker(t, "network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}}")) {
		if n != "ingress" {
			t.Errorf("there is an overlay network %s", n)
		}
	}
}

func TestEveryStepOfScalingShowsInWhoAnswers(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	for _, replicas := range []int{5, 2, 1, 5} {
		docker(t, "service", "scale", "--detach", fmt.Sprintf("demo=%d", replicas))
		for _, node := range loadBalancers {
			waitForInstances(t, node, "demo.local", replicas)
		}
	}
	docker(t, "service", "scale", "--detach", "demo=0")
	for _, node := range loadBalancers {
		waitForStatus(t, node, "demo.local", 503)
	}
	docker(t, "service", "scale", "--detach", "demo=2")
	for _, node := range loadBalancers {
		waitForInstances(t, node, "demo.local", 2)
	}
}

// waitForInstances waits until exactly so many tasks answer.
func waitForInstances(t *testing.T, node, host string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d tasks answer on %s", want, node), func(ctx context.Context) error {
		seen := map[string]bool{}
		for range 4 * max(want, 3) {
			_, p, err := site.Ping(ctx, node, host)
			if err != nil {
				return err
			}
			seen[p.Instance] = true
		}
		if len(seen) != want {
			return fmt.Errorf("%d answer", len(seen))
		}
		return nil
	})
}

func TestAppsComeAndGoWithTheirLabels(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local,www.demo.local")
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	waitForAnswer(t, "www.demo.local", "demo", loadBalancers...)
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	waitForStatus(t, "lb-00", "unknown.local", 503)

	docker(t, "service", "update", "--detach", "--label-rm", "com.docker.lb.hosts", "demo")
	waitForStatus(t, "lb-00", "demo.local", 503)
	waitForStatus(t, "lb-01", "demo.local", 503)
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	waitForLog(t, "missing-label", "service=demo")

	docker(t, "service", "update", "--detach", "--label-add", "com.docker.lb.default_backend=true", "demo")
	waitForAnswer(t, "unknown.local", "demo", loadBalancers...)
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	waitForLog(t, "problem solved", "missing-label", "service=demo")
}

func TestABadLabelIsNamedAndHurtsNobodyElse(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	createApp(t, "bad", "bad.local; return 200 pwned")
	waitForLog(t, "bad-label", "service=bad", "com.docker.lb.hosts", "is not a host name")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	waitForStatus(t, "lb-00", "bad.local", 503)
}
