package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	serving    = grpc_health_v1.HealthCheckResponse_SERVING
	notServing = grpc_health_v1.HealthCheckResponse_NOT_SERVING
)

func dialGRPC(t *testing.T, address string) (context.Context, grpc_health_v1.HealthClient) {
	t.Helper()
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx, grpc_health_v1.NewHealthClient(c)
}

func TestACallOfGRPCIsAnswered(t *testing.T) {
	d := serve(t, newApp(identity{Instance: "this"}), drainLimit)
	ctx, client := dialGRPC(t, d.address)
	var header metadata.MD
	answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	if err != nil || answer.GetStatus() != serving {
		t.Fatalf("%v, %v", answer, err)
	}
	if from := header.Get(instanceField); len(from) != 1 || from[0] != "this" {
		t.Errorf("it is from %q", from)
	}
}

func TestWhoWatchesOverGRPCIsToldThatTheTaskStops(t *testing.T) {
	d := serve(t, newApp(identity{}), drainLimit)
	ctx, client := dialGRPC(t, d.address)
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetStatus() != serving {
		t.Fatalf("%v, %v", first, err)
	}
	d.stop()
	if next, err := watch.Recv(); err != nil || next.GetStatus() != notServing {
		t.Errorf("%v, %v", next, err)
	}
	leave()
	if err := d.end(t); err != nil {
		t.Errorf("the app ended with %v", err)
	}
}

func TestAStreamOutlastsTheTimeThatAnAnswerMayTake(t *testing.T) {
	const limit = 300 * time.Millisecond
	server := httptest.NewUnstartedServer(newCalls("this"))
	server.Config.WriteTimeout = limit
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	ctx, client := dialGRPC(t, server.Listener.Addr().String())
	ctx, leave := context.WithTimeout(ctx, 4*limit)
	defer leave()
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("it ends with %v, want the client's own end", err)
	}
}
