package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// calls are calls of gRPC to the demo app through one node's proxy: one after the
// other, each with one answer, and beside them streams.
type calls struct {
	cancel  context.CancelFunc
	done    sync.WaitGroup
	service grpc_health_v1.HealthClient

	mu            sync.Mutex
	unary, stream int
	losses        []string
	tasks         map[string]bool // that have answered
}

// startCalls begins with a host that is served.
func startCalls(t *testing.T, host, node string, p proof) *calls {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(p.root)
	connection, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(cluster.Node(node).Address(), "443"),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: host})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	c := &calls{cancel: cancel, service: grpc_health_v1.NewHealthClient(connection), tasks: map[string]bool{}}
	t.Cleanup(func() { cancel(); c.done.Wait() })
	c.done.Go(func() { c.repeat(ctx, &c.unary, c.check) })
	c.done.Go(func() { c.repeat(ctx, &c.stream, c.watch) })
	return c
}

// repeat counts calls, and those that are lost.
func (c *calls) repeat(ctx context.Context, made *int, call func(context.Context) error) {
	for ctx.Err() == nil {
		err := call(ctx)
		c.mu.Lock()
		if *made++; err != nil && ctx.Err() == nil {
			c.losses = append(c.losses, err.Error())
		}
		c.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *calls) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var header metadata.MD
	answer, err := c.service.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	if err != nil {
		return fmt.Errorf("a call: %w", err)
	}
	c.answeredBy(header)
	if s := answer.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("a call is answered with %v", s)
	}
	return nil
}

// watch has a stream open until its task says that it stops, or for a while.
func (c *calls) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := c.service.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("a stream begins: %w", err)
	}
	if answer, err := stream.Recv(); err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("a stream's first answer: %v, %w", answer.GetStatus(), err)
	}
	header, err := stream.Header()
	if err != nil {
		return fmt.Errorf("a stream's header: %w", err)
	}
	c.answeredBy(header)
	if _, err := stream.Recv(); err != nil && status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("a stream: %w", err)
	}
	return nil
}

func (c *calls) answeredBy(header metadata.MD) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, task := range header.Get("x-app-instance") {
		c.tasks[task] = true
	}
}

// stop ends the calls, none of which may have been lost, and which so many tasks
// must have answered.
func (c *calls) stop(t *testing.T, tasks int) {
	t.Helper()
	c.cancel()
	c.done.Wait()
	t.Logf("%d calls and %d streams of gRPC, answered by %d tasks", c.unary, c.stream, len(c.tasks))
	if len(c.losses) > 0 {
		t.Errorf("%d of %d calls and %d streams were lost: %q", len(c.losses), c.unary, c.stream, c.losses[:min(3, len(c.losses))])
	}
	if len(c.tasks) < tasks {
		t.Errorf("%d tasks have answered, want %d", len(c.tasks), tasks)
	}
}

// callsSurviveARollingUpdate has an app that speaks gRPC replaced while it is
// called: HTTP/2 over TLS to the proxy of its cluster, without it to the tasks.
func callsSurviveARollingUpdate(t *testing.T, serviceCluster, node string) {
	t.Helper()
	const host = "calls.local"
	p := prove(t, host)
	createSecret(t, "calls-cert", p.chain)
	createSecret(t, "calls-key", p.key)
	// Without a delay the second of two is told to stop as soon as the first has been
	// started anew, whoever can be served by then.
	createApp(t, "calls", host, "--replicas", "2", "--constraint", "node.role==worker", "--update-delay", "2s",
		"--label", "com.docker.lb.service_cluster="+serviceCluster, "--label", "com.docker.lb.upstream_protocol=h2c",
		"--label", "com.docker.lb.ssl_cert=calls-cert", "--label", "com.docker.lb.ssl_key=calls-key")
	waitForProof(t, host, "calls", p, node)
	c := startCalls(t, host, node, p)
	eventually(t, "both tasks are called", func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.tasks) < 2 {
			return errors.New("one is not")
		}
		return nil
	})
	docker(t, "service", "update", "--force", "calls")
	c.stop(t, 4)
	docker(t, "service", "rm", "calls")
}
