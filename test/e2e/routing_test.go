package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/test/walkthrough"
)

func TestRoutingRunsAsWritten(t *testing.T) {
	w := follow(t, "routing.md")
	newInstallation(t)
	if err := site.SetLoadBalancersAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	i := &installation{t: t, config: walkthrough.ConfigName}
	i.create(site.ConfigWith("ProxyArgs = []", `ProxyConstraints = ["node.labels.nodetype==loadbalancer"]`))
	waitForService(t, "interlock-proxy")

	w.section(t, "Canary")
	checkShare(t, "canary.local", "v2", 20, 3)
	w.section(t, "Canary by weight")
	checkShare(t, "canary.local", "v2", 5, 1)
	docker(t, "service", "scale", "canary-v2=3")
	waitForSameTable(t)
	checkShare(t, "canary.local", "v2", 5, 1)
	w.section(t, "Blue-green")
	for _, title := range []string{"Context root", "Default backend", "Redirects", "Sticky sessions", "Tasks that differ", "Websockets", "HTTP/2 and gRPC"} {
		w.section(t, title)
	}
	w.section(t, "A service's virtual IP")
	checkVirtualIP(t)
}

// checkShare asks 10,000 times and expects an app to answer so many percent of
// it, give or take.
func checkShare(t *testing.T, host, app string, want, most float64) {
	t.Helper()
	const requests = 10_000
	address, err := proxyAddress()
	if err != nil {
		t.Fatal(err)
	}
	answered := map[string]int{}
	for range requests {
		answered[whoAnswers(t, address, host)]++
	}
	got := 100 * float64(answered[app]) / requests
	t.Logf("%s answered %.2f %% of %d requests: %v", app, got, requests, answered)
	if math.Abs(got-want) > most {
		t.Errorf("%s answered %.2f %%, want %g give or take %g", app, got, want, most)
	}
}

// whoAnswers asks on a connection that is kept.
func whoAnswers(t *testing.T, address, host string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/ping", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	var p walkthrough.Pong
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v: %.200s", resp.Status, err, body)
	}
	return p.Metadata
}

// checkVirtualIP expects the proxies to know the service by its address alone,
// so that scaling changes nothing in them. The kernel of the tests has no IPVS:
// the address itself answers nobody.
func checkVirtualIP(t *testing.T) {
	t.Helper()
	var networks, addresses string
	eventually(t, "the service has a virtual IP", func(context.Context) error {
		networks = docker(t, "network", "inspect", "-f", "{{.ID}}", "front")
		addresses = docker(t, "service", "inspect", "-f", `{{range .Endpoint.VirtualIPs}}{{if eq .NetworkID "`+networks+`"}}{{.Addr}}{{end}}{{end}}`, "vip")
		if addresses == "" {
			return fmt.Errorf("none on %s", networks)
		}
		return nil
	})
	virtual, _, _ := strings.Cut(addresses, "/")
	waitForProxyToHave(t, `server_name "vip.local";`, "server "+virtual+":8080")
	before := waitForSameTable(t)
	docker(t, "service", "scale", "vip=4")
	if after := waitForSameTable(t); after != before {
		t.Errorf("scaling the service changed the table from %s to %s", before, after)
	}
}
