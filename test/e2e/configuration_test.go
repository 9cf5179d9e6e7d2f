package e2e

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

func twoProxies() string { return site.ConfigWith("ProxyReplicas = 1", "ProxyReplicas = 2") }

func inspectProxy(t *testing.T, template string) string {
	t.Helper()
	return docker(t, "service", "inspect", "-f", template, "interlock-proxy")
}

func TestAConfigurationThatNginxRefusesIsNotServed(t *testing.T) {
	i := install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)

	bad := strings.Replace(twoProxies(), `User = "nginx"`, `User = "nginx"
      HTTPOptions = ["no_such_directive on;"]`, 1)
	i.reconfigure(bad)
	for _, node := range loadBalancers {
		waitForLog(t, "bundle-refused", "service=interlock-proxy", node, `unknown directive \"no_such_directive\"`)
	}
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)

	i.reconfigure(twoProxies())
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
}

func TestATakenPortIsNamedAsAProblem(t *testing.T) {
	newInstallation(t)
	for _, name := range loadBalancers {
		docker(t, "service", "create", "--detach", "--name", "squatter-"+name, "--constraint", "node.hostname=="+name,
			"--publish", "mode=host,target=8080,published=80", image("interlock-demo"))
	}
	install(t, twoProxies())
	waitForLog(t, "port-taken", "service=interlock-proxy", "already in use")
	docker(t, "service", "rm", "squatter-lb-00", "squatter-lb-01")
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	waitForLog(t, "problem solved", "port-taken")
}

func TestGarbageOnTheControlPortsHasNoEffect(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	targets := []string{hostPort(t, "interlock", "8080"), hostPort(t, "interlock-proxy", "7480")}
	for _, target := range targets {
		for _, garbage := range [][]byte{
			[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), bytes.Repeat([]byte{0xff}, 64<<10), {0x16, 0x03, 0x01, 0xff, 0xff}, nil,
		} {
			sendGarbage(t, target, garbage)
		}
		if conn, err := tls.Dial("tcp", target, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}); err == nil {
			// TLS 1.3 tells a client that its certificate is missing only
			// when it reads.
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); err == nil && target == targets[0] {
				t.Errorf("%s talks to somebody without a certificate", target)
			}
			conn.Close()
		}
	}
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
}

// hostPort is where one task of a service is reached at its node.
func hostPort(t *testing.T, service, target string) string {
	t.Helper()
	task := strings.Fields(docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}}", service))
	return net.JoinHostPort(cluster.Node(task[0]).Address(), enginePort(t, task[1], target))
}

// enginePort is the port that the engine picked for a task. Swarm lists it
// once for IPv4 and once for IPv6.
func enginePort(t *testing.T, task, target string) string {
	t.Helper()
	ports := strings.Fields(docker(t, "inspect", "-f", "{{range .Status.PortStatus.Ports}}{{if eq .TargetPort "+target+"}}{{.PublishedPort}} {{end}}{{end}}", task))
	if len(ports) == 0 {
		return "0"
	}
	return ports[0]
}

func sendGarbage(t *testing.T, target string, garbage []byte) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	// The other side may hang up before it has read everything.
	_, _ = conn.Write(garbage)
}
