package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/walkthrough"
)

func TestWhenAProxysNodeIsLostTheOtherServes(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local", "--constraint", "node.hostname!=lb-00", "--replicas", "2")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	if err := cluster.Node("lb-00").Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	createApp(t, "shop", "shop.local", "--constraint", "node.hostname!=lb-00")
	waitForAnswer(t, "shop.local", "shop", "lb-01")
	waitForAnswer(t, "demo.local", "demo", "lb-01")
	waitForLog(t, "problem", "unreachable", "lb-00")

	if err := cluster.Node("lb-00").Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
}

func TestACoreThatIsKilledAndMovesHurtsNoTraffic(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local", "--constraint", "node.role==worker", "--replicas", "2")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	before := hostPort(t, "interlock", "8080")

	traffic := startTraffic(t, "demo.local", loadBalancers...)
	killCore(t)
	eventually(t, "the core runs elsewhere", func(context.Context) error {
		if now, err := coreAddress(t); err != nil || now == before {
			return fmt.Errorf("it is at %q, was at %s: %w", now, before, err)
		}
		return nil
	})
	createApp(t, "shop", "shop.local")
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	traffic.stop(t)
}

func TestACoreWhoseManagerIsLostHurtsNoTraffic(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local", "--constraint", "node.role==worker", "--replicas", "2")
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)

	traffic := startTraffic(t, "demo.local", loadBalancers...)
	task := strings.Fields(docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}}", "interlock"))
	if err := cluster.Node(task[0]).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Until the others have a leader again, the API may not answer.
	eventually(t, "a new app is taken", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err := site.CreateApp(ctx, "shop", "shop.local", "--constraint", "node.role==worker")
		if err != nil && strings.Contains(err.Error(), "name conflicts") {
			return nil // an attempt that was given up has come through after all
		}
		return err
	})
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	traffic.stop(t)
}

// killCore kills the core's process and keeps Swarm from starting the next
// one on the same node.
func killCore(t *testing.T) {
	t.Helper()
	task := strings.Fields(docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}}", "interlock"))
	container := docker(t, "inspect", "-f", "{{.Status.ContainerStatus.ContainerID}}", task[1])
	if _, err := cluster.Node(task[0]).Docker(t.Context(), "kill", "--signal", "KILL", container); err != nil {
		t.Fatal(err)
	}
	docker(t, "service", "update", "--detach", "--constraint-add", "node.hostname!="+task[0], "interlock")
}

func coreAddress(t *testing.T) (string, error) {
	ps := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}} {{.CurrentState}}", "interlock")
	fields := strings.Fields(ps)
	if len(fields) < 3 || fields[2] != "Running" {
		return "", fmt.Errorf("tasks: %s", ps)
	}
	return net.JoinHostPort(cluster.Node(fields[0]).Address(), enginePort(t, fields[1], "8080")), nil
}

func TestEverythingStartedAnewComesToTheSameTable(t *testing.T) {
	install(t, twoProxies())
	waitForProxies(t, loadBalancers...)
	createApp(t, "demo", "demo.local", "--replicas", "3")
	createApp(t, "shop", "shop.local")
	for _, node := range loadBalancers {
		waitForInstances(t, node, "demo.local", 3)
	}
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	before := waitForSameTable(t)

	docker(t, "service", "rm", "interlock", "interlock-ext", "interlock-proxy")
	eventually(t, "nothing of Interlock runs", func(ctx context.Context) error {
		for _, n := range cluster.Nodes() {
			out, err := n.Docker(ctx, "ps", "-q", "--filter", "name=interlock")
			if err != nil || out != "" {
				return fmt.Errorf("%s: %s %w", n.Name(), out, err)
			}
		}
		return nil
	})
	forget(t)
	i := &installation{t: t, config: walkthrough.ConfigName}
	i.create(strings.Replace(twoProxies(), `ProxyArgs = []`, `ProxyArgs = []
    ProxyConstraints = ["node.labels.nodetype==loadbalancer"]`, 1))
	for _, node := range loadBalancers {
		waitForInstances(t, node, "demo.local", 3)
	}
	waitForAnswer(t, "shop.local", "shop", loadBalancers...)
	if after := waitForSameTable(t); after != before {
		t.Errorf("the table is %s, was %s", after, before)
	}
	createApp(t, "news", "news.local")
	waitForAnswer(t, "news.local", "news", loadBalancers...)
}

// forget removes all that Interlock keeps: its configuration, authority,
// identities, and the proxies' last good bundles.
func forget(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"config", "secret"} {
		docker(t, append([]string{kind, "rm"}, strings.Fields(docker(t, kind, "ls", "-q"))...)...)
	}
	for _, name := range loadBalancers {
		eventually(t, "the volume of "+name+" is free", func(ctx context.Context) error {
			_, err := cluster.Node(name).Docker(ctx, "volume", "rm", "interlock-proxy-default")
			return err
		})
	}
}

// waitForSameTable waits until all proxies serve the same table and returns
// its version.
func waitForSameTable(t *testing.T) (version string) {
	t.Helper()
	eventually(t, "all proxies serve one table", func(ctx context.Context) error {
		version = ""
		addresses, err := agents(ctx)
		if err != nil {
			return err
		}
		for _, address := range addresses {
			served, err := servedTable(ctx, address)
			if err != nil {
				return err
			}
			if version != "" && served != version {
				return fmt.Errorf("%s and %s", version, served)
			}
			version = served
		}
		return nil
	})
	return version
}

// traffic is a client on a new connection for every request, to several nodes
// in turn.
type traffic struct {
	began  time.Time
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	sent   int
	losses []string
}

func startTraffic(t *testing.T, host string, nodes ...string) *traffic {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	urls := make([]string, len(nodes))
	for i, node := range nodes {
		urls[i] = "http://" + cluster.Node(node).Address() + "/ping"
		waitForSteadyAnswers(t, client, urls[i], host)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	tr := &traffic{cancel: cancel, began: time.Now()}
	t.Cleanup(cancel)
	for _, url := range urls {
		tr.done.Go(func() { tr.run(ctx, client, url, host) })
	}
	return tr
}

// waitForSteadyAnswers waits until a host is served for good: while nginx
// reloads, workers with the table before it take connections for another 100 ms
// beside those that know the host already.
func waitForSteadyAnswers(t *testing.T, client *http.Client, url, host string) {
	t.Helper()
	eventually(t, url+" answers steadily for "+host, func(context.Context) error {
		for began := time.Now(); time.Since(began) < time.Second; {
			if err := request(client, url, host); err != nil {
				return err
			}
		}
		return nil
	})
}

func (tr *traffic) run(ctx context.Context, client *http.Client, url, host string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			tr.count(request(client, url, host))
		}
	}
}

func request(client *http.Client, url, host string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func (tr *traffic) count(err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sent++
	if err != nil {
		tr.losses = append(tr.losses, fmt.Sprintf("after %s: %s", time.Since(tr.began).Round(time.Millisecond), err))
	}
}

// stop ends the traffic, none of which may have been lost.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.cancel()
	tr.done.Wait()
	if len(tr.losses) > 0 || tr.sent == 0 {
		t.Errorf("%d of %d requests were lost: %q", len(tr.losses), tr.sent, tr.losses[:min(3, len(tr.losses))])
	}
}
