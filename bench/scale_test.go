package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// A Swarm that is as large as Interlock promises to serve.
const (
	manyServices = 10_000
	tasksEach    = 10
	manyNodes    = 200
	changesEach  = 10
)

// simulated is a Swarm that is there at the core's seams only.
type simulated struct {
	snap     *snapshot.Snapshot
	readings chan *snapshot.Snapshot
}

func simulate() *simulated {
	var lists snapshot.Lists
	for i := range manyNodes {
		lists.Nodes = append(lists.Nodes, snapshot.Node{
			ID: fmt.Sprintf("node%021d", i), Hostname: fmt.Sprintf("node-%d", i), Ready: true, Addr: netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)}),
		})
	}
	for i := range manyServices {
		replicas := uint64(tasksEach)
		id := fmt.Sprintf("service%018d", i)
		lists.Services = append(lists.Services, snapshot.Service{
			ID: id, Version: 1, CreatedAt: time.Unix(int64(i), 0),
			Spec: snapshot.ServiceSpec{
				Name: fmt.Sprintf("app-%d", i), Image: "app:1", Replicas: &replicas, Env: map[string]string{"A": "1"},
				Labels: map[string]string{"com.docker.lb.hosts": fmt.Sprintf("app-%d.example.com", i), "com.docker.lb.port": "8080"},
				Ports:  []snapshot.Port{{Protocol: "tcp", Target: 8080, Mode: snapshot.PublishHost}},
			},
		})
		for j := range tasksEach {
			n := i*tasksEach + j
			lists.Tasks = append(lists.Tasks, snapshot.Task{
				ID: fmt.Sprintf("task%021d", n), ServiceID: id, NodeID: lists.Nodes[n%manyNodes].ID, Slot: j + 1,
				State: snapshot.TaskRunning, Desired: snapshot.TaskRunning, Message: "started", ContainerID: fmt.Sprintf("%064d", n),
				Ports: []snapshot.Port{{Protocol: "tcp", Target: 8080, Published: uint16(30000 + n/manyNodes), Mode: snapshot.PublishHost}},
			})
		}
	}
	return &simulated{snap: lists.Snapshot(nil), readings: make(chan *snapshot.Snapshot)}
}

// stop has one task told to stop, or to run again: the first of a service. As a
// source does, it shares all that it does not change.
func (s *simulated) stop(service int) *snapshot.Snapshot {
	next := *s.snap
	next.Tasks = slices.Clone(s.snap.Tasks)
	tasks := &snapshot.Tasks{ServiceID: next.Tasks[service].ServiceID, List: slices.Clone(next.Tasks[service].List)}
	t := *tasks.List[0]
	if t.Desired == snapshot.TaskRunning {
		t.Desired = snapshot.TaskShutdown
	} else {
		t.Desired = snapshot.TaskRunning
	}
	tasks.List[0], next.Tasks[service] = &t, tasks
	s.snap = &next
	return s.snap
}

func (s *simulated) Run(ctx context.Context, publish func(*snapshot.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snap := <-s.readings:
			publish(snap)
		}
	}
}

func (s *simulated) Snapshot(context.Context) (*snapshot.Snapshot, error) { return s.snap, nil }
func (s *simulated) Health() error                                        { return nil }

func (s *simulated) CreateService(context.Context, snapshot.ServiceSpec) (string, error) {
	return "made", nil
}

func (s *simulated) UpdateService(context.Context, string, uint64, snapshot.ServiceSpec) error {
	return nil
}

func (s *simulated) CreateSecret(context.Context, string, map[string]string, []byte) (string, error) {
	return "made", nil
}

func (s *simulated) CreateConfig(context.Context, string, map[string]string, []byte) (string, error) {
	return "made", nil
}

func (s *simulated) ReadConfig(context.Context, string) ([]byte, error) { return nil, nil }

func (s *simulated) RemoveConfig(context.Context, string) error  { return nil }
func (s *simulated) RemoveSecret(context.Context, string) error  { return nil }
func (s *simulated) RemoveService(context.Context, string) error { return nil }

func (s *simulated) Issue(pki.Name, time.Time, time.Duration) ([]byte, error) {
	return []byte("x"), nil
}

func (s *simulated) Fingerprint() string { return "0123456789abcdef" }

func (s *simulated) Seal(words ...string) string { return fmt.Sprint(words) }

func (s *simulated) Deliver(string, []delivery.Proxy, *delivery.Bundle) {}
func (s *simulated) Try(string, string, *delivery.Bundle)               {}

func (s *simulated) Statuses() ([]delivery.Status, <-chan struct{}) { return nil, nil }

// Probe says of every task that it accepts connections.
func (s *simulated) Probe(_ string, addresses []netip.AddrPort) admission.Answer {
	answer := admission.Answer{Asked: true, Accepts: make(map[netip.AddrPort]bool, len(addresses))}
	for _, addr := range addresses {
		answer.Accepts[addr] = true
	}
	return answer
}

// BenchmarkLargeSwarm measures what the core needs for a table of a large Swarm,
// and for one task's change in it.
func BenchmarkLargeSwarm(b *testing.B) {
	s := simulate()
	c := core.New(core.Options{
		Settings: &settings.Settings{ListenAddr: ":8080", PollInterval: 3 * time.Second, Extensions: []settings.Extension{{
			Name: "default", ServiceName: "interlock-ext", ProxyServiceName: "interlock-proxy", PublishMode: snapshot.PublishHost,
		}}},
		Source: s, Applier: s, Deliverer: s, Issuer: s, Container: "core", Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	_, outdated := c.Tables().Publication("")
	began := time.Now()
	s.readings <- s.snap
	<-outdated
	first := time.Since(began)
	publication, changed := c.Tables().Publication("")
	outdated = changed
	if len(publication.Table.Hosts) != manyServices {
		b.Fatalf("the table has %d hosts", len(publication.Table.Hosts))
	}
	time.Sleep(11 * time.Second) // until the core gives up waiting for its own task
	var took []time.Duration
	cpu := cpuTime()
	count := 0
	for b.Loop() {
		for i := range changesEach {
			snap := s.stop(i * 997 % manyServices)
			began := time.Now()
			s.readings <- snap
			<-outdated
			took = append(took, time.Since(began))
			_, outdated = c.Tables().Publication("")
			count++
		}
	}
	noTimePerOperation(b)
	b.ReportMetric(milliseconds(first), "first-table-ms")
	b.ReportMetric(milliseconds(cpuTime()-cpu)/float64(count), "cpu-ms/change")
	report(b, "change", took)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.Sys)/(1<<20), "MiB")
	cancel()
	check(b, <-ended)
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails for no process of ours
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
