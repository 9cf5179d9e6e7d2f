package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// This kernel has no IPVS: what is published through the routing mesh, and a
// service's virtual IP, answer nobody. Where proxies publish so, these tests see
// to the services and to the tables that the proxies serve.

func TestProxiesFollowAppsOntoTheirOverlayNetworks(t *testing.T) {
	installOverlay(t, twoProxies())
	createNetworks(t, "front", "back")
	waitForProxies(t, loadBalancers...)
	checkExtensionIsOn(t, "interlock")

	createOverlayApp(t, "demo", "demo.local", "front")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	checkUpstream(t, "demo", "demo.local", "front")
	checkProxyNetworks(t, "front")

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

func TestTheSameProxiesReachAppsInHostModeAndOverNetworks(t *testing.T) {
	install(t, twoProxies())
	createNetworks(t, "front", "back")
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local", "--network", "back")
	createOverlayApp(t, "shop", "shop.local", "front")
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

func TestProxiesThatPublishThroughTheRoutingMeshServeTheTable(t *testing.T) {
	ingress := strings.Replace(twoProxies(), `PublishMode = "host"`, `PublishMode = "ingress"`, 1)
	t.Run("application only", func(t *testing.T) {
		installOverlay(t, ingress)
		checkExtensionIsOn(t, "interlock")
		checkIngress(t)
		empty := waitForSameTable(t)
		createApp(t, "demo", "demo.local")
		waitForTable(t, "the app's", func(version string) bool { return version != empty })
		docker(t, "service", "rm", "demo")
		waitForTable(t, "the empty", func(version string) bool { return version == empty })
		checkProxyNetworks(t)
	})
	t.Run("Interlock only", func(t *testing.T) {
		install(t, ingress)
		createNetworks(t, "front")
		empty := waitForSameTable(t)
		createOverlayApp(t, "demo", "demo.local", "front")
		waitForTable(t, "the app's", func(version string) bool { return version != empty })
		checkProxyNetworks(t, "front")
		checkIngress(t)
		docker(t, "service", "rm", "demo")
		waitForTable(t, "the empty", func(version string) bool { return version == empty })
	})
}

// createNetworks makes overlay networks, which go with everything else when the
// test ends.
func createNetworks(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		docker(t, "network", "create", "--driver", "overlay", name)
	}
}

// installOverlay is install with a core that publishes nothing and is on the
// network interlock.
func installOverlay(t *testing.T, config string) {
	t.Helper()
	newInstallation(t)
	createNetworks(t, "interlock")
	if err := site.SetLoadBalancersAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := site.StoreConfig(t.Context(), "service.interlock.conf", config); err != nil {
		t.Fatal(err)
	}
	docker(t, "service", "create", "--detach", "--name", "interlock",
		"--mount", "src=/var/run/docker.sock,dst=/var/run/docker.sock,type=bind",
		"--constraint", "node.role==manager", "--network", "interlock",
		"--config", "src=service.interlock.conf,target=/config.toml", image("interlock"), "-D", "run", "-c", "/config.toml")
	waitForService(t, "interlock-proxy")
	docker(t, "service", "update", "--detach", "--constraint-add", "node.labels.nodetype==loadbalancer", "interlock-proxy")
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
	task := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.ID}}", app)
	addresses := docker(t, "inspect", "-f", "{{range .NetworksAttachments}}{{if eq .Network.Spec.Name \""+network+"\"}}{{index .Addresses 0}}{{end}}{{end}}", task)
	prefix, err := netip.ParsePrefix(addresses)
	if err != nil {
		t.Fatalf("the address of %s on %s is %q: %v", app, network, addresses, err)
	}
	if got, want := answer.Header.Get("X-Upstream-Addr"), netip.AddrPortFrom(prefix.Addr(), 8080).String(); got != want {
		t.Errorf("%s is reached at %s, want its task's address on %s, %s", app, got, network, want)
	}
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

// waitForTable waits until both proxies say that they serve such a table.
func waitForTable(t *testing.T, which string, is func(version string) bool) {
	t.Helper()
	eventually(t, "both proxies serve "+which+" table", func(ctx context.Context) error {
		addresses, err := agents(ctx)
		if err != nil {
			return err
		}
		if len(addresses) != 2 {
			return fmt.Errorf("there are %d proxies", len(addresses))
		}
		for _, address := range addresses {
			version, err := servedTable(ctx, address)
			if err != nil {
				return err
			}
			if !is(version) {
				return fmt.Errorf("%s serves %s", address, version)
			}
		}
		return nil
	})
}

func checkIngress(t *testing.T) {
	t.Helper()
	want := "80:80:ingress 443:443:ingress 0:7480:host"
	got := strings.Fields(inspectProxy(t, "{{range .Spec.EndpointSpec.Ports}}{{.PublishedPort}}:{{.TargetPort}}:{{.PublishMode}} {{end}}"))
	if !slices.Equal(got, strings.Fields(want)) {
		t.Errorf("the proxies publish %v, want %s", got, want)
	}
}
