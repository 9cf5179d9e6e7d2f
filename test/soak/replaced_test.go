package soak

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/load"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// replaced puts another release of Interlock in the place of the one that runs,
// part by part, and another configuration. It leaves them there, so it is the
// last scenario.
func replaced(t *testing.T, i *installation) load.Result {
	i.createDemo(t, 2)
	next := tagNext(t)
	l := startLoad(t)
	updateCore(t, "--image", next.Image("interlock"))
	i.mustFollow(t, "a new core", "new-core.local")

	other := strings.NewReplacer(site.Image("interlock-extension"), next.Image("interlock-extension"), "MaxConnections = 2048", "MaxConnections = 4096")
	configure(t, walkthrough.ConfigName, "second", other.Replace(site.ConfigFor(i.kind)))
	waitReplaced(t, "interlock-ext", 1, next)
	i.mustFollow(t, "a new extension and configuration", "new-extension.local")
	r := l.Stop()

	// A node's port is free between its old proxy and its new one.
	l = startLoad(t, func(o *load.Options) { o.Failover = true })
	configure(t, "second", "third", next.ConfigFor(i.kind))
	waitReplaced(t, "interlock-proxy", len(proxies()), next)
	i.mustFollow(t, "new proxies", "new-proxies.local")
	r.Add(l.Stop())
	return r
}

// tagNext gives the images of this checkout a second name, as if they were those
// of the next release.
func tagNext(t *testing.T) *walkthrough.Site {
	t.Helper()
	next := &walkthrough.Site{Lab: site.Lab, Version: version + "-next"}
	for _, name := range []string{"interlock", "interlock-extension", "interlock-proxy", "interlock-proxy-native"} {
		_, err := site.Lab.Builder().Docker(t.Context(), "tag", site.Image(name), next.Image(name))
		check(t, err)
		check(t, site.Lab.PushImages(t.Context(), next.Image(name)))
	}
	return next
}

// updateCore waits until the core's new task runs.
func updateCore(t *testing.T, args ...string) {
	t.Helper()
	docker(t, append(append([]string{"service", "update", "--detach=false", "--quiet", "--update-monitor", "1ms"}, args...), "interlock")...)
}

// configure gives the core another configuration, as docs/operations.md says.
func configure(t *testing.T, before, name, text string) {
	t.Helper()
	check(t, site.StoreConfig(t.Context(), name, text))
	updateCore(t, "--config-rm", before, "--config-add", "source="+name+",target=/config.toml")
}

// waitReplaced waits until all tasks of a service are of another release.
func waitReplaced(t *testing.T, service string, tasks int, release *walkthrough.Site) {
	t.Helper()
	began := time.Now()
	eventually(t, service+" is replaced", func(ctx context.Context) error {
		out, err := site.Docker(ctx, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Image}} {{.CurrentState}}", service)
		if err != nil {
			return err
		}
		fresh := 0
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) > 1 && strings.HasSuffix(f[0], ":"+release.Version) && f[1] == "Running" {
				fresh++
			}
		}
		if fresh != tasks {
			return fmt.Errorf("%d of %d tasks are:\n%s", fresh, tasks, out)
		}
		return nil
	})
	t.Logf("%s was replaced in %s", service, time.Since(began).Round(time.Millisecond))
}
