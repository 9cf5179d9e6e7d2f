package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// stockImage holds nginx as others package it: without Interlock's agent.
const stockImage = "nginx:stock"

// buildStockImage makes the image from the root file system of our own proxy
// image, which is Debian's nginx, and lets every node pull it.
func buildStockImage(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "deploy/build-image", stockImage, "test/e2e/testdata/stock-nginx", "build/rootfs.tar")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), cluster.Builder().DockerEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", stockImage, err, out)
	}
	if err := cluster.PushImages(t.Context(), stockImage); err != nil {
		t.Fatal(err)
	}
}

func stockProxies() string {
	return strings.Replace(twoProxies(), image("interlock-proxy"), stockImage, 1)
}

func TestStockProxiesGetTheirRoutesAsDockerConfigs(t *testing.T) {
	w := follow(t, "delivery.md")
	i := newInstallation(t)
	buildStockImage(t)
	if err := site.SetLoadBalancersAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.create(stockProxies())
	waitForService(t, "interlock-proxy")
	docker(t, "service", "update", "--detach", "--constraint-add", "node.labels.nodetype==loadbalancer", "interlock-proxy")
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	checkNothingOfTheAgents(t)

	// One proxy at a time is replaced: who asks the other one when one does not
	// answer loses nothing.
	tr := startPatientTraffic(t, "demo.local")
	for n := 1; n <= 3; n++ {
		host := fmt.Sprintf("shop-%d.local", n)
		docker(t, "service", "update", "--detach", "--label-add", "com.docker.lb.hosts=demo.local,"+host, "demo")
		waitForAnswer(t, host, "demo", loadBalancers...)
	}
	eventually(t, "three configs are kept", threeConfigs)

	demo := prove(t, "demo.local")
	createSecret(t, "demo.cert", demo.chain)
	createSecret(t, "demo.key", demo.key)
	docker(t, "service", "update", "--detach", "--label-add", "com.docker.lb.ssl_cert=demo.cert", "--label-add", "com.docker.lb.ssl_key=demo.key", "demo")
	waitForProof(t, "demo.local", "demo", demo, loadBalancers...)
	checkConfigsNameSecrets(t, demo)

	i.reconfigure(strings.Replace(stockProxies(), `User = "nginx"`, `User = "nginx"
      HTTPOptions = ["no_such_directive on;"]`, 1))
	waitForUpdate(t, "rollback_completed")
	waitForLog(t, "rolled-back", "service=interlock-proxy", "non-zero exit (1)", "docker service logs interlock-proxy")
	waitForAnswer(t, "shop-3.local", "demo", loadBalancers...)

	i.reconfigure(stockProxies())
	createApp(t, "news", "news.local")
	waitForAnswer(t, "news.local", "news", loadBalancers...)
	w.section(t, "When a configuration does not work")
	tr.stop(t)
	waitForLog(t, "problem solved", "rolled-back")
	eventually(t, "three configs are kept", threeConfigs)
}

func TestTheWayOfDeliveryIsChangedInPlace(t *testing.T) {
	i := install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	before := inspectProxy(t, "{{.ID}}")

	i.reconfigure(strings.Replace(twoProxies(), "ProxyReplicas", "HitlessServiceUpdate = false\n    ProxyReplicas", 1))
	createApp(t, "shop", "shop.local")
	waitForUpdate(t, "completed")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	checkNothingOfTheAgents(t)

	i.reconfigure(twoProxies())
	waitForUpdate(t, "completed")
	eventually(t, "the proxies have agents again", func(ctx context.Context) error {
		_, err := agents(ctx)
		return err
	})
	createApp(t, "news", "news.local")
	waitForAnswer(t, "news.local", "news", loadBalancers...)
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	if after := inspectProxy(t, "{{.ID}}"); after != before {
		t.Error("the proxy service was created anew")
	}
}

// checkNothingOfTheAgents checks that the proxy service has its configuration and
// nothing that only Interlock's agent has a use for.
func checkNothingOfTheAgents(t *testing.T) {
	t.Helper()
	eventually(t, "the proxies have a config and nothing of the agent's", func(context.Context) error {
		const container = ".Spec.TaskTemplate.ContainerSpec"
		got := inspectProxy(t, "{{range "+container+".Configs}}{{.File.Name}} {{end}}{{range "+container+".Secrets}}secret {{end}}"+
			"{{range "+container+".Mounts}}mount {{end}}{{range .Spec.EndpointSpec.Ports}}{{.TargetPort}} {{end}}{{.Spec.UpdateConfig.FailureAction}}")
		if want := "/etc/nginx/nginx.conf 80 443 rollback"; got != want {
			return fmt.Errorf("the service has %s, want %s", got, want)
		}
		return nil
	})
}

// checkConfigsNameSecrets looks into all configs for the certificate's path, and
// for the key itself.
func checkConfigsNameSecrets(t *testing.T, p proof) {
	t.Helper()
	var all strings.Builder
	for id := range strings.FieldsSeq(docker(t, "config", "ls", "-q")) {
		all.WriteString(docker(t, "config", "inspect", "--format", `{{printf "%s" .Spec.Data}}`, id))
	}
	if !strings.Contains(all.String(), "/run/secrets/demo.cert") {
		t.Error("no Docker config names the certificate")
	}
	if strings.Contains(all.String(), p.keyLine()) {
		t.Error("a key is in a Docker config")
	}
}

func waitForUpdate(t *testing.T, state string) {
	t.Helper()
	eventually(t, "the update of the proxy service is "+state, func(context.Context) error {
		if got := inspectProxy(t, "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"); got != state {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

func threeConfigs(ctx context.Context) error {
	out, err := site.Docker(ctx, "config", "ls", "--filter", "label=com.docker.interlock.role=bundle", "--format", "{{.Name}}")
	if n := len(strings.Fields(out)); err == nil && n != 3 {
		err = fmt.Errorf("there are %d: %s", n, out)
	}
	return err
}

// patientTraffic asks the next load balancer where one does not answer, as
// clients with two addresses do.
type patientTraffic struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	sent   int
	turns  int // requests that the second one had to answer
	losses []string
}

func startPatientTraffic(t *testing.T, host string) *patientTraffic {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	tr := &patientTraffic{cancel: cancel}
	t.Cleanup(cancel)
	tr.done.Go(func() { tr.run(ctx, host) })
	return tr
}

func (tr *patientTraffic) run(ctx context.Context, host string) {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tr.sent++
		first, second := loadBalancers[tr.sent%2], loadBalancers[(tr.sent+1)%2]
		if request(client, pingURL(first), host) == nil {
			continue
		}
		tr.turns++
		if err := request(client, pingURL(second), host); err != nil {
			tr.losses = append(tr.losses, err.Error())
		}
	}
}

func pingURL(node string) string { return "http://" + cluster.Node(node).Address() + "/ping" }

// stop ends the traffic, none of which may have been lost.
func (tr *patientTraffic) stop(t *testing.T) {
	t.Helper()
	tr.cancel()
	tr.done.Wait()
	t.Logf("%d requests, of which the second load balancer had to answer %d", tr.sent, tr.turns)
	if len(tr.losses) > 0 || tr.sent == 0 {
		t.Errorf("%d of %d requests were answered by neither: %q", len(tr.losses), tr.sent, tr.losses[:min(3, len(tr.losses))])
	}
}
