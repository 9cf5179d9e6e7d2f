package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/page"
)

// nginxAndNative are two clusters: nginx for the default one on lb-00, and on
// lb-01 the native proxy for "fast", from the same config.toml but for the images.
func nginxAndNative() string {
	config := site.ConfigWith(`ServiceName = "interlock-ext"`, `ProxyConstraints = ["node.hostname==lb-00"]
    ServiceName = "interlock-ext"`)
	fast := site.Config()[strings.Index(site.Config(), "  [Extensions.default]"):]
	for _, change := range [][2]string{
		{"[Extensions.default", "[Extensions.fast"},
		{`Args = []`, `Args = ["native"]`},
		{`"interlock-ext"`, `"fast-ext"`},
		{`"` + image("interlock-proxy") + `"`, `"` + image("interlock-proxy-native") + `"`},
		{`ProxyServiceName = "interlock-proxy"`, "ServiceCluster = \"fast\"\n    ProxyConstraints = [\"node.hostname==lb-01\"]\n    ProxyServiceName = \"fast-proxy\""},
	} {
		fast = strings.ReplaceAll(fast, change[0], change[1])
	}
	return config + strings.Replace(fast, `ProxyArgs = ["native"]`, `ProxyArgs = []`, 1)
}

func TestTheNativeProxyServesItsClusterBesideNginx(t *testing.T) {
	i := newInstallation(t)
	i.create(nginxAndNative())
	waitForLog(t, "notice", "Extensions.fast.Config.User has no effect")
	createApp(t, "demo", "demo.local")
	createApp(t, "quick", "quick.local", "--label", "com.docker.lb.service_cluster=fast")
	waitForAnswer(t, "demo.local", "demo", "lb-00")
	waitForAnswer(t, "quick.local", "quick", "lb-01")
	waitForStatus(t, "lb-01", "demo.local", 503)

	// An app that comes and goes is no reason for anything to be lost.
	traffic := startTraffic(t, "quick.local", "lb-01")
	createApp(t, "more", "more.local", "--label", "com.docker.lb.service_cluster=fast")
	waitForAnswer(t, "more.local", "more", "lb-01")
	docker(t, "service", "rm", "more")
	waitForStatus(t, "lb-01", "more.local", 503)
	callsSurviveARollingUpdate(t, "fast", "lb-01")
	docker(t, "service", "rm", "interlock", "fast-ext")
	traffic.stop(t)

	// Nobody is left to deliver: what comes next is from the volume.
	before := nativeContainer(t)
	if _, err := cluster.Node("lb-01").Docker(t.Context(), "kill", "--signal", "KILL", before); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another proxy runs", func(context.Context) error {
		if now := nativeContainer(t); now == "" || now == before {
			return fmt.Errorf("there is %q", now)
		}
		return nil
	})
	waitForAnswer(t, "quick.local", "quick", "lb-01")
}

// nativeContainer is the native proxy's on lb-01; empty: none runs.
func nativeContainer(t *testing.T) string {
	t.Helper()
	container, err := cluster.Node("lb-01").Docker(t.Context(), "ps", "-q", "--filter", "name=fast-proxy")
	if err != nil {
		t.Fatal(err)
	}
	return container
}

func TestAStandaloneIsOneServiceOnEveryManager(t *testing.T) {
	newInstallation(t)
	docker(t, "network", "create", "--driver", "overlay", "apps")
	docker(t, "service", "create", "--detach", "--name", "edge", "--mode", "global", "--constraint", "node.role==manager", "--network", "apps",
		"--mount", "type=bind,src=/var/run/docker.sock,dst=/var/run/docker.sock",
		"--publish", "mode=host,target=80,published=80", image("interlock"), "standalone")
	createApp(t, "demo", "demo.local")
	docker(t, "service", "create", "--detach", "--name", "inside", "--network", "apps",
		"--label", "com.docker.lb.hosts=inside.local", "--label", "com.docker.lb.port=8080", "--env", "METADATA=inside", image("interlock-demo"))
	for _, node := range cluster.Managers() {
		waitForAnswer(t, "demo.local", "demo", node.Name())
		waitForAnswer(t, "inside.local", "inside", node.Name())
		answer, err := lab.Curl(t.Context(), "http://"+node.Address()+"/ping", "Host: inside.local")
		if err != nil || !strings.HasPrefix(answer.Header.Get("x-server-info"), "interlock/") {
			t.Errorf("%s: %v, %v", node.Name(), answer.Header, err)
		}
	}
	docker(t, "service", "rm", "inside")
	for _, node := range cluster.Managers() {
		waitForStatus(t, node.Name(), "inside.local", 503)
	}
}

func TestTheReadmeRunsAsPrintedOnASwarmOfOneNode(t *testing.T) {
	lab.Require(t)
	node := lab.New(t, lab.Options{Managers: 1}).Managers()[0]
	for _, target := range []string{"image-interlock", "image-interlock-demo"} {
		if said, err := makeOn(t, node, target); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, said)
		}
	}
	readme, err := page.Read("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	reader := page.Shell{
		Folder: folder, Env: append(node.DockerEnv(), "PATH="+os.Getenv("PATH"), "HOME="+folder),
		Replace: func(text string) (string, error) {
			return strings.NewReplacer("interlock:VERSION", "interlock:dev", "shop:1.0", "interlock-demo:dev").Replace(text), nil
		},
	}
	for _, section := range readme.Sections {
		for _, step := range section.Steps {
			if err := reader.Run(t.Context(), step); err != nil {
				t.Fatalf("README.md, %v", err)
			}
		}
	}
	eventually(t, "the shop answers", func(ctx context.Context) error {
		answer, err := lab.Curl(ctx, "http://"+node.Address()+"/ping", "Host: shop.example.com")
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("%d: %.200s", answer.Status, answer.Body)
		}
		return err
	})
	c, err := net.Dial("tcp", node.Address()+":443")
	if err != nil {
		t.Fatalf("the port for TLS: %v", err)
	}
	c.Close()
}
