package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/test/lab"
)

// This kernel has no IPVS: what is published through the routing mesh, and a
// service's virtual IP, answer nobody. Where proxies publish so, these tests see
// to the services and to the tables that the proxies serve.

func TestEveryWayOfNetworkingRunsAsWritten(t *testing.T) {
	w := follow(t, "overlay.md")
	t.Run("proxy only", func(t *testing.T) { proxyOnly(t, w) })
	t.Run("Interlock only", func(t *testing.T) { interlockOnly(t, w) })
	t.Run("application only", func(t *testing.T) { applicationOnly(t, w) })
	t.Run("hybrid", func(t *testing.T) { hybrid(t, w) })
}

func proxyOnly(t *testing.T, w *walk) {
	newInstallation(t)
	w.section(t, "With a dedicated network")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	checkExtensionIsOn(t, "interlock")
	checkUpstream(t, "demo", "demo.local", "front")
	checkProxyNetworks(t, "front")

	createNetworks(t, "back")
	createOverlayApp(t, "shop", "shop.local", "back")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	checkUpstream(t, "shop", "shop.local", "back")
	checkProxyNetworks(t, "back", "front")

	// The next core has another address on its network.
	killCore(t)
	createOverlayApp(t, "news", "news.local", "front")
	waitForAnswer(t, "news.local", "news", loadBalancers...)
	waitForProxies(t, loadBalancers...)
}

func interlockOnly(t *testing.T, w *walk) {
	newInstallation(t)
	w.section(t, "Interlock only")
	waitForService(t, "interlock-proxy")
	waitForTask(t, "demo")
	waitForProxyToHave(t, `server_name "demo.local";`, overlayAddress(t, "demo", "front").String())
	checkProxyNetworks(t, "front")
	checkIngress(t)
}

func applicationOnly(t *testing.T, w *walk) {
	newInstallation(t)
	w.section(t, "Application only")
	waitForService(t, "interlock-proxy")
	waitForTask(t, "demo")
	waitForProxyToHave(t, `server_name "demo.local";`, publishedAddress(t, "demo").String())
	checkExtensionIsOn(t, "interlock")
	checkProxyNetworks(t)
	checkIngress(t)
}

func hybrid(t *testing.T, w *walk) {
	newInstallation(t)
	w.section(t, "Hybrid")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	answer, _, err := site.Ping(t.Context(), "lb-00", "demo.local")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Header.Get("X-Upstream-Addr"), publishedAddress(t, "demo").String(); got != want {
		t.Errorf("the app in host mode is reached at %s, want %s", got, want)
	}
	checkUpstream(t, "shop", "shop.local", "front")
	checkProxyNetworks(t, "front")
}

// waitForTask waits until a service's tasks run.
func waitForTask(t *testing.T, service string) {
	t.Helper()
	eventually(t, service+" runs", func(context.Context) error {
		if state := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", service); !strings.HasPrefix(state, "Running") {
			return fmt.Errorf("it is %q", state)
		}
		return nil
	})
}

// waitForProxyToHave waits until every proxy's nginx has a configuration with
// all of the words.
func waitForProxyToHave(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the proxies' configuration has %q", words), func(ctx context.Context) error {
		nodes := proxyNodes(t)
		if len(nodes) == 0 {
			return errors.New("no proxy runs")
		}
		for _, name := range nodes {
			text, err := proxyConfiguration(ctx, cluster.Node(name))
			if err != nil {
				return err
			}
			for _, w := range words {
				if !strings.Contains(text, w) {
					return fmt.Errorf("that on %s lacks %q", name, w)
				}
			}
		}
		return nil
	})
}

// proxyConfiguration is nginx.conf, in the tar that the engine makes of it.
func proxyConfiguration(ctx context.Context, node *lab.Node) (string, error) {
	container, err := node.Docker(ctx, "ps", "-q", "--filter", "name=interlock-proxy")
	if err != nil {
		return "", err
	}
	return node.Docker(ctx, "cp", container+":/etc/nginx/nginx.conf", "-")
}

func TestAnAppOnAnExcludedNetworkIsAProblemThatNamesNetworkAndKey(t *testing.T) {
	install(t, strings.Replace(twoProxies(), "ProxyReplicas", `Networks = ["front"]
    ProxyReplicas`, 1))
	createNetworks(t, "front", "back")
	waitForProxies(t, loadBalancers...)
	createOverlayApp(t, "shop", "shop.local", "back")
	createOverlayApp(t, "demo", "demo.local", "front")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	waitForLog(t, "no-address", "service=shop", "Networks in config.toml", "back")
	checkProxyNetworks(t, "front")
}

// createNetworks makes overlay networks, which go with everything else when the
// test ends.
func createNetworks(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		docker(t, "network", "create", "--driver", "overlay", name)
	}
}

// createOverlayApp deploys a demo app that publishes nothing.
func createOverlayApp(t *testing.T, name, hosts, network string) {
	t.Helper()
	docker(t, "service", "create", "--detach", "--name", name, "--network", network,
		"--label", "com.docker.lb.hosts="+hosts, "--label", "com.docker.lb.port=8080",
		"--env", "METADATA="+name, image("interlock-demo"))
}

// checkUpstream expects requests to go to the app's only task on a network.
func checkUpstream(t *testing.T, app, host, network string) {
	t.Helper()
	answer, _, err := site.Ping(t.Context(), "lb-00", host)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Header.Get("X-Upstream-Addr"), overlayAddress(t, app, network).String(); got != want {
		t.Errorf("%s is reached at %s, want its task's address on %s, %s", app, got, network, want)
	}
}

// overlayAddress is where the app's only task serves on a network.
func overlayAddress(t *testing.T, app, network string) (address netip.AddrPort) {
	t.Helper()
	eventually(t, "the task of "+app+" has an address on "+network, func(context.Context) error {
		task := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.ID}}", app)
		addresses := docker(t, "inspect", "-f", "{{range .NetworksAttachments}}{{if eq .Network.Spec.Name \""+network+"\"}}{{index .Addresses 0}}{{end}}{{end}}", task)
		prefix, err := netip.ParsePrefix(addresses)
		address = netip.AddrPortFrom(prefix.Addr(), 8080)
		return err
	})
	return address
}

// networksOf lists the names of the networks that a service is attached to.
func networksOf(t *testing.T, service string) []string {
	t.Helper()
	var names []string
	for _, id := range strings.Fields(docker(t, "service", "inspect", "-f", "{{range .Spec.TaskTemplate.Networks}}{{.Target}} {{end}}", service)) {
		names = append(names, docker(t, "network", "inspect", "-f", "{{.Name}}", id))
	}
	slices.Sort(names)
	return names
}

func checkProxyNetworks(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the proxies are attached to %v", want), func(context.Context) error {
		if got := networksOf(t, "interlock-proxy"); !slices.Equal(got, want) {
			return fmt.Errorf("they are to %v", got)
		}
		return nil
	})
}

func checkExtensionIsOn(t *testing.T, network string) {
	t.Helper()
	waitForService(t, "interlock-ext")
	if got := networksOf(t, "interlock-ext"); !slices.Equal(got, []string{network}) {
		t.Errorf("the extension is attached to %v, want %s", got, network)
	}
	if ports := docker(t, "service", "inspect", "-f", "{{len .Endpoint.Ports}}", "interlock"); ports != "0" {
		t.Errorf("the core publishes %s ports", ports)
	}
}

func checkIngress(t *testing.T) {
	t.Helper()
	want := "80:80:ingress 443:443:ingress 0:7480:host"
	got := strings.Fields(inspectProxy(t, "{{range .Spec.EndpointSpec.Ports}}{{.PublishedPort}}:{{.TargetPort}}:{{.PublishMode}} {{end}}"))
	if !slices.Equal(got, strings.Fields(want)) {
		t.Errorf("the proxies publish %v, want %s", got, want)
	}
}
