package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/client"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// TestARealEngine holds what only a real engine can show. Its parts share the
// engine and so run in order, but none needs what another made.
func TestARealEngine(t *testing.T) {
	e := startEngine(t)
	c := dial(t, e.url)
	t.Run("that is in no Swarm is worth waiting for", func(t *testing.T) {
		wantUnready(t, c.Check(t.Context()), true, "docker swarm init")
		_, err := c.Snapshot(t.Context())
		wantUnready(t, err, true, "docker swarm init")
	})
	e.initSwarm(t)
	e.loadImage(t)
	t.Run("that is a manager is ready", func(t *testing.T) {
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("is read completely", func(t *testing.T) { readCompletely(t, e, c) })
	t.Run("gives a service back as it was created", func(t *testing.T) { createAndReadBack(t, c) })
	t.Run("keeps what the operator set when a service is updated", func(t *testing.T) { operatorsFieldsSurvive(t, e, c) })
	t.Run("refuses an update of what somebody else changed", func(t *testing.T) { conflictingUpdates(t, e, c) })
	t.Run("deploys a service with limits and a health check", func(t *testing.T) { deploys(t, e, c) })
	t.Run("says what a service misses", func(t *testing.T) { missingObjects(t, e, c) })
	t.Run("stores secrets and configs", func(t *testing.T) { secretsAndConfigs(t, c) })
	t.Run("has its changes published", func(t *testing.T) { changesArePublished(t, e, c) })
}

// addresses lets cmp compare netip's types, which it cannot look into.
var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func dial(t *testing.T, url string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), Options{URL: url, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func wantUnready(t *testing.T, err error, retryable bool, words string) {
	t.Helper()
	var unready *Unready
	if !errors.As(err, &unready) {
		t.Fatalf("not an *Unready: %v", err)
	}
	if unready.Retryable != retryable {
		t.Errorf("retryable is %v: %v", unready.Retryable, err)
	}
	if !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is not one line with %q: %v", words, err)
	}
}

func readCompletely(t *testing.T, e *engine, c *Client) {
	ctx := t.Context()
	overlay, err := e.api.NetworkCreate(ctx, "apps", client.NetworkCreateOptions{Driver: "overlay", Labels: map[string]string{"of": "test"}})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := c.CreateSecret(ctx, "key.pem", map[string]string{"kind": "key"}, []byte("not a key"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := c.CreateConfig(ctx, "page.html", map[string]string{plan.LabelRole: "page"}, []byte("<p>"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateConfig(ctx, "of-somebody-else", nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	service, err := c.CreateService(ctx, snapshot.ServiceSpec{
		Name: "app", Image: testImage, Replicas: ptr(uint64(1)), Networks: []string{overlay.ID},
		Ports: []snapshot.Port{{Target: 8080, Mode: snapshot.PublishHost}, {Target: 9090, Published: 30090}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var s *snapshot.Snapshot
	eventually(t, func(ctx context.Context) error {
		if s, err = c.Snapshot(ctx); err == nil && !settled(s) {
			err = fmt.Errorf("tasks: %+v", s.Tasks)
		}
		return err
	})
	again, err := c.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again, addresses); diff != "" {
		t.Errorf("two readings of an unchanged Swarm differ:\n%s", diff)
	}

	if len(s.Nodes) != 1 || !s.Nodes[0].Ready || !s.Nodes[0].Manager || s.Nodes[0].Addr.String() != "127.0.0.1" {
		t.Errorf("unexpected nodes: %+v", s.Nodes)
	}
	if n := s.Network(overlay.ID); n == nil || n.Name != "apps" || n.Driver != "overlay" || n.Ingress || n.Labels["of"] != "test" {
		t.Errorf("unexpected network: %+v", n)
	}
	if !slices.ContainsFunc(s.Networks, func(n snapshot.Network) bool { return n.Ingress }) {
		t.Errorf("the ingress network is not told apart: %+v", s.Networks)
	}
	if !slices.ContainsFunc(s.Secrets, func(o snapshot.Object) bool {
		return o.ID == secret && o.Name == "key.pem" && o.Labels["kind"] == "key"
	}) {
		t.Errorf("unexpected secrets: %+v", s.Secrets)
	}
	if len(s.Configs) != 1 || s.Configs[0].ID != config || s.Configs[0].Name != "page.html" || s.Configs[0].Labels[plan.LabelRole] != "page" {
		t.Errorf("unexpected configs: %+v", s.Configs)
	}
	wantRunningApp(t, s, service, overlay.ID)
}

func wantRunningApp(t *testing.T, s *snapshot.Snapshot, service, overlay string) {
	t.Helper()
	app := s.Service(service)
	mesh := []snapshot.Port{{Protocol: "tcp", Target: 9090, Published: 30090, Mode: snapshot.PublishIngress}}
	if app == nil || !cmp.Equal(app.Ports, mesh) {
		t.Fatalf("unexpected service: %+v", app)
	}
	if !slices.ContainsFunc(app.VirtualIPs, func(v snapshot.VirtualIP) bool { return v.NetworkID == overlay && v.Addr.IsValid() }) {
		t.Errorf("no virtual IP on the network: %+v", app.VirtualIPs)
	}
	tasks := s.TasksOf(service)
	if len(tasks) != 1 {
		t.Fatalf("not one task: %+v", tasks)
	}
	task := tasks[0]
	if task.State != snapshot.TaskRunning || task.NodeID != s.Nodes[0].ID || len(task.ContainerID) != 64 {
		t.Errorf("unexpected task: %+v", task)
	}
	if len(task.Ports) != 1 || task.Ports[0].Target != 8080 || task.Ports[0].Published == 0 || task.Ports[0].Mode != snapshot.PublishHost {
		t.Errorf("not the port that the engine picked: %+v", task.Ports)
	}
	if !slices.ContainsFunc(task.Attachments, func(a snapshot.Attachment) bool { return a.NetworkID == overlay && len(a.Addrs) == 1 }) {
		t.Errorf("no address on the network: %+v", task.Attachments)
	}
}

func changesArePublished(t *testing.T, e *engine, c *Client) {
	watcher := dial(t, e.url)
	watcher.poll = time.Hour // so that what arrives was announced
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	published := make(chan *snapshot.Snapshot)
	ended := make(chan error)
	go func() {
		ended <- watcher.Run(ctx, func(s *snapshot.Snapshot) {
			select {
			case published <- s:
			case <-ctx.Done():
			}
		})
	}()
	await(ctx, t, published, func(*snapshot.Snapshot) bool { return true })
	config, err := c.CreateConfig(ctx, "announced", map[string]string{plan.LabelRole: "test"}, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	await(ctx, t, published, func(s *snapshot.Snapshot) bool {
		return slices.ContainsFunc(s.Configs, func(o snapshot.Object) bool { return o.ID == config })
	})
	id, err := c.CreateService(ctx, snapshot.ServiceSpec{Name: "watched", Image: testImage, Replicas: ptr(uint64(1))})
	if err != nil {
		t.Fatal(err)
	}
	await(ctx, t, published, func(s *snapshot.Snapshot) bool {
		return slices.ContainsFunc(s.TasksOf(id), func(t *snapshot.Task) bool { return t.State == snapshot.TaskRunning })
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ends with %v", err)
	}
}

func await(ctx context.Context, t *testing.T, published <-chan *snapshot.Snapshot, wanted func(*snapshot.Snapshot) bool) {
	t.Helper()
	for {
		select {
		case s := <-published:
			if wanted(s) {
				return
			}
		case <-ctx.Done():
			t.Fatal("what was awaited is not published")
		}
	}
}

func current(t *testing.T, c *Client, id string) snapshot.Service {
	t.Helper()
	s, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	service := s.Service(id)
	if service == nil {
		t.Fatalf("service %s is not in the snapshot", id)
	}
	return *service
}

func ptr[T any](v T) *T { return &v }
