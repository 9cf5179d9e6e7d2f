package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Cluster is a service cluster that a table is built for.
type Cluster struct {
	Name string // empty for the default cluster
	// Networks are the IDs of the networks that all of the cluster's proxies
	// are attached to now; none in host mode.
	Networks []string
	// Attachable are the IDs of the networks that the proxies may be attached
	// to when a service needs one, in order of preference. A network that is in
	// neither list is kept from the proxies by the operator.
	Attachable []string
	// Reserved are the names of secrets that no service may name, of whatever
	// cluster; those with a label of Interlock's own are so without a word.
	Reserved []string
}

// Build makes one table for every cluster, in the order of clusters, and says
// in the same order which networks the cluster's proxies must be attached to
// for its services: IDs, sorted. A service that cannot be routed is left out
// and named by a problem; the others are not affected. The problems are sorted.
func Build(snap *snapshot.Snapshot, clusters []Cluster) (tables []Table, needs [][]string, problems []problem.Problem) {
	built, problems := new(Memory).Build(snap, clusters)
	for _, one := range built {
		tables, needs = append(tables, *one.Table), append(needs, one.Needs)
	}
	return tables, needs, problems
}

// builder looks at one snapshot.
type builder struct {
	snap     *snapshot.Snapshot
	nodes    map[string]*snapshot.Node   // by ID
	secrets  map[string]*snapshot.Object // by name
	reserved map[string]bool
	clusters []Cluster
	// asked is what was looked up since it was last set to nothing.
	asked lookups
	// findings are those since they were last taken.
	findings []finding
}

// lookups say what an answer depends on besides the service and its tasks.
type lookups struct{ networks, secrets bool }

// finding is a problem and the ID of the service that has it.
type finding struct {
	service string
	problem problem.Problem
}

// wish is what one service asks for, with its labels understood.
type wish struct {
	service *snapshot.Service
	labels  label.Set
	port    uint16
	network string // ID of the network that a label names; empty if none does
	terms   terms
}

// older is the order in which services come to what they ask for.
func older(x, y *wish) int {
	return cmp.Or(x.service.CreatedAt.Compare(y.service.CreatedAt), strings.Compare(x.service.ID, y.service.ID))
}

// wish reads the labels of a service; nil if no cluster can serve it.
func (b *builder) wish(s *snapshot.Service) *wish {
	w, ok := b.read(s)
	if !ok {
		return nil
	}
	if !slices.ContainsFunc(b.clusters, func(c Cluster) bool { return c.Name == w.labels.ServiceCluster }) {
		b.report(s, problem.NoCluster, "service_cluster", w.labels.ServiceCluster, noClusterMessage(b.clusters))
		return nil
	}
	return &w
}

// networkOf returns the network with the given ID, or nil.
func (b *builder) networkOf(id string) *snapshot.Network {
	b.asked.networks = true
	return b.snap.Network(id)
}

// secretOf returns the secret of that name, or nil.
func (b *builder) secretOf(name string) *snapshot.Object {
	b.asked.secrets = true
	return b.secrets[name]
}

func noClusterMessage(clusters []Cluster) string {
	var names []string
	for _, c := range clusters {
		if c.Name == "" {
			names = append(names, "the default cluster (no label)")
		} else {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return "no extension serves this service cluster; there are: " + strings.Join(names, ", ")
}

// read understands the labels of one service; ok is false if it does not want
// to be routed, or cannot be.
func (b *builder) read(s *snapshot.Service) (w wish, ok bool) {
	set, asked, faults := label.Parse(s.Spec.Labels)
	ok = asked
	for _, f := range faults {
		b.find(s, problem.Problem{
			Kind: f.Kind, Service: s.Spec.Name, Label: f.Label, Value: f.Value, Message: f.Message,
		})
		ok = ok && !f.Fatal
	}
	if !ok {
		return w, false
	}
	if len(set.Hosts) == 0 && !set.DefaultBackend {
		b.report(s, problem.MissingLabel, "hosts", "",
			"the service has Interlock labels but names no host; add the label with the host names to serve, or default_backend=true")
		return w, false
	}
	w = wish{service: s, labels: set}
	b.settle(&w)
	if w.port, ok = b.port(s, set.Port); !ok {
		return w, false
	}
	w.network, ok = b.network(s, set.Network)
	return w, ok
}

// port returns the port that tasks listen on: the one that the label names,
// else the only one that the service publishes.
func (b *builder) port(s *snapshot.Service, named uint16) (uint16, bool) {
	if named != 0 {
		return named, true
	}
	var targets []uint16
	for _, p := range s.Spec.Ports {
		if p.Protocol == "tcp" && !slices.Contains(targets, p.Target) {
			targets = append(targets, p.Target)
		}
	}
	if len(targets) == 1 {
		return targets[0], true
	}
	slices.Sort(targets)
	message := "say which port inside the container takes requests"
	if len(targets) > 1 {
		message += fmt.Sprintf("; the service publishes %s", joinPorts(targets))
	}
	b.report(s, problem.MissingLabel, "port", "", message)
	return 0, false
}

func joinPorts(ports []uint16) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = fmt.Sprint(p)
	}
	return strings.Join(texts, ", ")
}

// network finds the network that the label names among those of the service,
// by its name or by its name without the stack's prefix.
func (b *builder) network(s *snapshot.Service, named string) (string, bool) {
	if named == "" {
		return "", true
	}
	stacked := s.Spec.Labels["com.docker.stack.namespace"] + "_" + named
	var prefixed string
	var have []string
	for _, id := range s.Spec.Networks {
		n := b.networkOf(id)
		if n == nil || n.Ingress {
			continue
		}
		switch n.Name {
		case named:
			return n.ID, true
		case stacked:
			prefixed = n.ID
		}
		have = append(have, n.Name)
	}
	if prefixed != "" {
		return prefixed, true
	}
	slices.Sort(have)
	message := "the service is attached to no network of this name; it is attached to "
	if len(have) == 0 {
		message += "none"
	} else {
		message += strings.Join(have, ", ")
	}
	b.report(s, problem.BadLabel, "network", named, message)
	return "", false
}

func (b *builder) report(s *snapshot.Service, kind problem.Kind, name, value, message string) {
	p := problem.Problem{Kind: kind, Service: s.Spec.Name, Message: message}
	if name != "" {
		p.Label, p.Value = label.Prefix+name, value
	}
	b.find(s, p)
}

func (b *builder) find(s *snapshot.Service, p problem.Problem) {
	b.findings = append(b.findings, finding{s.ID, p})
}

// reportLabel reports a label with the value that the service gives it.
func (b *builder) reportLabel(w *wish, kind problem.Kind, name, message string) {
	value := w.service.Spec.Labels[label.Prefix+name]
	b.report(w.service, kind, name, label.Shorten(value), message)
}
