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
	b := builder{
		snap: snap, nodes: make(map[string]*snapshot.Node, len(snap.Nodes)),
		reserved: make(map[string]bool),
	}
	for i := range snap.Nodes {
		b.nodes[snap.Nodes[i].ID] = &snap.Nodes[i]
	}
	for _, c := range clusters {
		for _, name := range c.Reserved {
			b.reserved[name] = true
		}
	}
	wishes := b.wishes(clusters)
	tables, needs = make([]Table, len(clusters)), make([][]string, len(clusters))
	for i, c := range clusters {
		tables[i], needs[i] = b.table(c, wishes[c.Name])
	}
	return tables, needs, problem.Sort(b.problems)
}

type builder struct {
	snap     *snapshot.Snapshot
	nodes    map[string]*snapshot.Node
	reserved map[string]bool
	problems []problem.Problem
}

// wish is what one service asks for, with its labels understood.
type wish struct {
	service *snapshot.Service
	labels  label.Set
	port    uint16
	network string // ID of the network that a label names; empty if none does
	terms   terms
}

// wishes reads the labels of all services and sorts them by cluster. Within a
// cluster the oldest service comes first.
func (b *builder) wishes(clusters []Cluster) map[string][]wish {
	byCluster := make(map[string][]wish, len(clusters))
	for _, c := range clusters {
		byCluster[c.Name] = nil
	}
	for _, s := range b.snap.Services {
		w, ok := b.read(s)
		if !ok {
			continue
		}
		if _, served := byCluster[w.labels.ServiceCluster]; !served {
			b.report(w.service, problem.NoCluster, "service_cluster", w.labels.ServiceCluster, noClusterMessage(clusters))
			continue
		}
		byCluster[w.labels.ServiceCluster] = append(byCluster[w.labels.ServiceCluster], w)
	}
	for _, list := range byCluster {
		slices.SortFunc(list, func(x, y wish) int {
			return cmp.Or(x.service.CreatedAt.Compare(y.service.CreatedAt), strings.Compare(x.service.ID, y.service.ID))
		})
	}
	return byCluster
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
		b.problems = append(b.problems, problem.Problem{
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
		n := b.snap.Network(id)
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
	b.problems = append(b.problems, p)
}

// reportLabel reports a label with the value that the service gives it.
func (b *builder) reportLabel(w *wish, kind problem.Kind, name, message string) {
	value := w.service.Spec.Labels[label.Prefix+name]
	b.report(w.service, kind, name, label.Shorten(value), message)
}
