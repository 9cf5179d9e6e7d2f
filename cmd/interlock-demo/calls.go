package main

import (
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// instanceField tells in answers to gRPC which task gave them.
const instanceField = "X-App-Instance"

// calls answers gRPC's own health protocol: Check is one answer, Watch a stream of
// them, in which whoever watches is told when the task stops.
type calls struct {
	instance string
	health   *health.Server
	server   *grpc.Server
}

func newCalls(instance string) *calls {
	c := &calls{instance: instance, health: health.NewServer(), server: grpc.NewServer()}
	grpc_health_v1.RegisterHealthServer(c.server, c.health)
	return c
}

func (c *calls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Who watches may do so for longer than an answer may take.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the connection has deadlines
	w.Header().Set(instanceField, c.instance)
	c.server.ServeHTTP(w, r)
}

// stop says so to those who watch, who are to leave and watch another task.
func (c *calls) stop() { c.health.Shutdown() }
