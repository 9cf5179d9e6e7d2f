package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
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

func TestAnExtensionThatIsTakenOutIsRemovedOnceNoServiceNeedsIt(t *testing.T) {
	i := newInstallation(t)
	docker(t, "node", "update", "--label-add", "region=us-east", "lb-00")
	docker(t, "node", "update", "--label-add", "region=us-west", "lb-01")
	i.create(clustersConfig())
	createApp(t, "east", "shop.local", "--label", "com.docker.lb.service_cluster=us-east")
	createApp(t, "west", "shop.local", "--label", "com.docker.lb.service_cluster=us-west")
	waitForAnswer(t, "shop.local", "east", "lb-00")
	waitForAnswer(t, "shop.local", "west", "lb-01")

	all := clustersConfig()
	i.reconfigure(all[:strings.Index(all, "[Extensions.us-east]")]+all[strings.Index(all, "[Extensions.us-west]"):],
		"--args", "-D run -c /config.toml --removal-grace 5s")
	waitForLog(t, "interlock-proxy-us-east", "it stays while services name its service cluster, which nobody else serves (east)")
	waitForAnswer(t, "shop.local", "east", "lb-00")
	docker(t, "service", "rm", "east")
	waitForLog(t, "interlock-proxy-us-east", "it is removed 5s after nothing needs it any more")
	eventually(t, "nothing of us-east is left", func(context.Context) error { return nothingOf("us-east") })
	waitForAnswer(t, "shop.local", "west", "lb-01")
	if left := docker(t, "secret", "ls", "-q", "--filter", "label=com.docker.interlock.extension=us-west"); left == "" {
		t.Error("the identities of the other extension have gone")
	}
}

// nothingOf looks for what is left of an extension.
func nothingOf(extension string) error {
	for _, kind := range []string{"service", "secret"} {
		left, err := site.Docker(context.Background(), kind, "ls", "-q", "--filter", "label=com.docker.interlock.extension="+extension)
		if err != nil {
			return err
		}
		if left != "" {
			return fmt.Errorf("there still is a %s of %s: %s", kind, extension, left)
		}
	}
	return nil
}
