package route

import (
	"net/netip"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Reached is where the requests for one task go.
type Reached struct {
	Task    *snapshot.Task
	Service string // the name of its service
	Cluster string
	Addr    netip.AddrPort
}

// Reach says where the requests for each of the tasks go once it is used, in the
// order of tasks. It leaves out those that get none at an address of their own:
// their service is not routed, not to be reached, or reached at its virtual IP.
func Reach(snap *snapshot.Snapshot, clusters []Cluster, tasks []*snapshot.Task) []Reached {
	b := builder{snap: snap, nodes: make(map[string]*snapshot.Node)}
	wishes := make(map[string]*wish)
	var reached []Reached
	for _, t := range tasks {
		w, known := wishes[t.ServiceID]
		if !known {
			w = b.ownAddresses(t.ServiceID)
			wishes[t.ServiceID] = w
		}
		if w == nil {
			continue
		}
		b.nodes[t.NodeID] = snap.Node(t.NodeID)
		for _, c := range clusters {
			if c.Name != w.labels.ServiceCluster {
				continue
			}
			if addr, _, ok := b.address(t, w, b.shared(w, c)); ok {
				reached = append(reached, Reached{Task: t, Service: w.service.Spec.Name, Cluster: c.Name, Addr: addr})
			}
		}
	}
	return reached
}

// ownAddresses is what a service asks for whose tasks get requests at their own
// addresses, and nil for any other.
func (b *builder) ownAddresses(service string) *wish {
	s := b.snap.Service(service)
	if s == nil {
		return nil
	}
	if w, ok := b.read(s); ok && w.labels.BackendMode != label.BackendVIP {
		return &w
	}
	return nil
}
