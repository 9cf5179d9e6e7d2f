package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/fixture/controlsocket"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// swarmOutside is a large Swarm that another process reads and writes as it does
// a real one: through Docker's API and SwarmKit's control socket.
type swarmOutside struct {
	authority *fixture.Authority
	kit       *controlsocket.Server
	ids       *rand.Rand

	mu       sync.Mutex
	services []*swarm.Service
	tasks    []*swarm.Task
	nodes    []*swarm.Node
	secrets  []*swarm.Secret
	data     map[string][]byte // of secrets, by ID
	unread   map[string][]byte // of tasks' specifications, by the service's ID
	created  chan *swarm.Service
	writes   int
}

// proxyNode is the load balancer's node, at 127.0.0.1.
const proxyNode = "load-balancer"

// newSwarmOutside has as many services, tasks and nodes as simulate. A task is of
// the size that real ones have: about a kilobyte.
func newSwarmOutside(b *testing.B) *swarmOutside {
	b.Helper()
	s := &swarmOutside{
		authority: fixture.NewAuthority(b), kit: controlsocket.New(), ids: rand.New(rand.NewPCG(1, 2)),
		data: map[string][]byte{}, unread: map[string][]byte{}, created: make(chan *swarm.Service, 2),
	}
	s.nodes = append(s.nodes, s.node(proxyNode, "127.0.0.1"))
	for i := range manyNodes {
		// Whoever asks these whether they accept connections stays on this machine.
		s.nodes = append(s.nodes, s.node(fmt.Sprintf("node-%d", i), netip.AddrFrom4([4]byte{127, 1, byte(i / 250), byte(i%250 + 1)}).String()))
	}
	for i := range manyServices {
		service := s.app(i)
		s.services = append(s.services, service)
		for j := range tasksEach {
			s.tasks = append(s.tasks, s.task(service, i*tasksEach+j, j+1))
		}
	}
	s.kit.OnlyParts = true // as a follower is asked, which takes 4 MiB from its leader
	for _, n := range s.nodes {
		s.kit.Has(kitNode(n))
	}
	for _, v := range s.services {
		s.kit.Has(kitService(v))
	}
	for _, t := range s.tasks {
		s.kit.Has(s.kitTask(b, t))
	}
	return s
}

// id is one of 25 digits, as Swarm makes them.
func (s *swarmOutside) id() string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	id := make([]byte, 25)
	for i := range id {
		id[i] = digits[s.ids.IntN(len(digits))]
	}
	return string(id)
}

func (s *swarmOutside) node(name, addr string) *swarm.Node {
	return &swarm.Node{
		ID: s.id(), Spec: swarm.NodeSpec{Role: swarm.NodeRoleWorker, Availability: swarm.NodeAvailabilityActive},
		Description: swarm.NodeDescription{Hostname: name}, Status: swarm.NodeStatus{State: swarm.NodeStateReady, Addr: addr},
	}
}

func (s *swarmOutside) app(i int) *swarm.Service {
	replicas := uint64(tasksEach)
	spec := swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: fmt.Sprintf("app-%d", i), Labels: map[string]string{
			"com.docker.lb.hosts": fmt.Sprintf("app-%d.example.com", i), "com.docker.lb.port": "8080",
		}},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		EndpointSpec: &swarm.EndpointSpec{Ports: []swarm.PortConfig{appPort(0)}},
	}
	container := &swarm.ContainerSpec{Image: "registry.example.com/team/app:1@sha256:" + fmt.Sprintf("%064d", i)}
	for j := range 10 {
		container.Env = append(container.Env, fmt.Sprintf("SETTING_%d=https://service-%d.internal.example.com/path", j, i))
	}
	spec.TaskTemplate.ContainerSpec = container
	return &swarm.Service{ID: s.id(), Meta: swarm.Meta{CreatedAt: time.Unix(int64(i), 0)}, Spec: spec}
}

func appPort(published uint32) swarm.PortConfig {
	return swarm.PortConfig{Protocol: network.TCP, TargetPort: 8080, PublishedPort: published, PublishMode: swarm.PortConfigPublishModeHost}
}

// task is the n-th one of all.
func (s *swarmOutside) task(service *swarm.Service, n, slot int) *swarm.Task {
	return &swarm.Task{
		ID: s.id(), ServiceID: service.ID, NodeID: s.nodes[1+n%manyNodes].ID, Slot: slot, Spec: service.Spec.TaskTemplate,
		DesiredState: swarm.TaskStateRunning,
		Status: swarm.TaskStatus{
			State: swarm.TaskStateRunning, Message: "started", ContainerStatus: &swarm.ContainerStatus{ContainerID: fmt.Sprintf("%064x", n)},
			PortStatus: swarm.PortStatus{Ports: []swarm.PortConfig{appPort(uint32(20_000 + n/manyNodes))}},
		},
	}
}

// kitTask has all tasks of a service share one copy of its specification. It
// needs mu.
func (s *swarmOutside) kitTask(b *testing.B, t *swarm.Task) *swarmpb.Object {
	b.Helper()
	unread, known := s.unread[t.ServiceID]
	if !known {
		var err error
		unread, err = proto.Marshal(kitContainer(t.Spec.ContainerSpec))
		check(b, err)
		s.unread[t.ServiceID] = unread
	}
	return kitTask(t, unread)
}

// put stores a task that is there already in another state.
func (s *swarmOutside) put(b *testing.B, n int, change func(*swarm.Task)) {
	b.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := *s.tasks[n]
	change(&t)
	s.tasks[n] = &t
	s.kit.Put(s.kitTask(b, &t))
}

// replace has a new task in the place of another one, which is forgotten.
func (s *swarmOutside) replace(b *testing.B, n int, state swarm.TaskState) {
	b.Helper()
	s.kit.RemoveTask(s.tasks[n].ID)
	s.put(b, n, func(t *swarm.Task) {
		t.ID, t.DesiredState, t.Status.State = s.id(), swarm.TaskStateRunning, state
	})
}

// addressOf is where a task is reached.
func (s *swarmOutside) addressOf(n int) string {
	return fmt.Sprintf("%s:%d", s.nodes[1+n%manyNodes].Status.Addr, s.tasks[n].Status.PortStatus.Ports[0].PublishedPort)
}

// runProxy has a task of the proxy service run, whose agent is at a port of this
// machine.
func (s *swarmOutside) runProxy(b *testing.B, service *swarm.Service, agentPort uint16) {
	b.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.task(service, len(s.tasks), 1)
	t.NodeID, t.Status.PortStatus.Ports = s.nodes[0].ID, nil
	for _, p := range service.Spec.EndpointSpec.Ports {
		if p.PublishedPort == 0 { // the engine picks one
			p.PublishedPort = uint32(agentPort)
		}
		t.Status.PortStatus.Ports = append(t.Status.PortStatus.Ports, p)
	}
	s.tasks = append(s.tasks, t)
	s.kit.Put(s.kitTask(b, t))
}

// changed is how often the Swarm has been written to.
func (s *swarmOutside) changed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}
