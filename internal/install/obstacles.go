package install

import (
	"errors"
	"fmt"
	"strings"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// obstacles names everything that keeps this stack from working on this Swarm,
// as far as that can be known before it is tried.
func (s *Stack) obstacles(snap *snapshot.Snapshot) error {
	return errors.Join(s.tooFewNodes(snap), namesTaken(snap), s.portsTaken(snap))
}

func (s *Stack) tooFewNodes(snap *snapshot.Snapshot) error {
	ready, labelled := 0, 0
	for i := range snap.Nodes {
		n := &snap.Nodes[i]
		if !s.mayRun(n) {
			continue
		}
		labelled++
		if n.Ready {
			ready++
		}
	}
	switch {
	case labelled == 0 && s.options.standalone():
		return fmt.Errorf("no manager has the label %[1]s, so that no standalone could run: docker node update --label-add %[1]s NODE, for a manager", s.options.LoadBalancers)
	case labelled == 0:
		return fmt.Errorf("no node has the label %[1]s, so that no proxy could run: docker node update --label-add %[1]s NODE, for each load balancer", s.options.LoadBalancers)
	case ready == 0:
		return fmt.Errorf("of the %d nodes for proxies none is ready: see docker node ls", labelled)
	case s.options.publishMode() == "host" && labelled < s.options.Proxies:
		return fmt.Errorf("%d proxies that publish port %d at their nodes need as many nodes, and there are %d: give --proxies %[3]d, or more nodes the label",
			s.options.Proxies, s.options.Port, labelled)
	}
	return nil
}

// mayRun reports whether a node may run what clients talk to.
func (s *Stack) mayRun(n *snapshot.Node) bool {
	return (n.Manager || !s.options.standalone()) && (s.options.LoadBalancers == "" || bears(n, s.options.LoadBalancers))
}

// namesTaken looks for services of our names that are not ours.
func namesTaken(snap *snapshot.Snapshot) error {
	var faults []error
	core := findService(snap, coreService)
	for _, name := range []string{coreService, standaloneService} {
		if findService(snap, name) != nil && stackService(snap, name) == nil {
			faults = append(faults, fmt.Errorf("a service %s exists and is none of the stack %s: rename or remove it", name, stackName))
		}
	}
	for _, name := range []string{extensionName, proxyName} {
		s := findService(snap, name)
		if s == nil || core != nil && s.Spec.Labels[plan.LabelOwner] == core.ID {
			continue
		}
		if snap.Service(s.Spec.Labels[plan.LabelOwner]) != nil || s.Spec.Labels[plan.LabelRole] == "" {
			faults = append(faults, fmt.Errorf("a service %s exists and belongs to another installation, or to none: remove it, or the core that keeps it", name))
		}
	}
	return errors.Join(faults...)
}

// portsTaken looks for other services that publish the proxies' ports. What
// listens on a node besides Swarm's services shows only once it is tried.
func (s *Stack) portsTaken(snap *snapshot.Snapshot) error {
	var faults []error
	for _, other := range snap.Services {
		if other.Spec.Name == s.front() {
			continue
		}
		for _, p := range other.Spec.Ports {
			clash := p.Published == uint16(s.options.Port) || p.Published == uint16(s.options.SSLPort)
			// In host mode they meet only on the nodes that both run on.
			apart := p.Mode == snapshot.PublishHost && !s.meets(snap, other)
			if clash && p.Protocol == "tcp" && !apart {
				faults = append(faults, fmt.Errorf("port %d is published by the service %s already: choose others with --port and --ssl-port", p.Published, other.Spec.Name))
			}
		}
	}
	return errors.Join(faults...)
}

// meets reports whether a task of the service runs where proxies may run.
func (s *Stack) meets(snap *snapshot.Snapshot, other *snapshot.Service) bool {
	if s.options.publishMode() == "ingress" {
		return true
	}
	for _, t := range snap.TasksOf(other.ID) {
		n := snap.Node(t.NodeID)
		if n != nil && s.mayRun(n) {
			return true
		}
	}
	return false
}

// advice says what to do about Swarm's words for why a task does not run.
func advice(words string) string {
	for _, known := range []struct{ words, advice string }{
		{"port already in use", "free the port, or choose others with --port and --ssl-port"},
		{"address already in use", "free the port, or choose others with --port and --ssl-port"},
		{"port is already allocated", "free the port, or choose others with --port and --ssl-port"},
		{"No such image", "load the image on that node (docker load), or push it to a registry that the node reaches and give --image-prefix"},
		{"pull access denied", "push the image to a registry that the node reaches and give --image-prefix"},
		{"manifest unknown", "that registry does not have this version: see --version"},
		{"no suitable node", "no node fits: see docker node ls, and --lb-label"},
		{"unhealthy", "it started and does not get well: see docker service logs"},
		{"non-zero exit", "it started and gave up: see docker service logs"},
	} {
		if strings.Contains(words, known.words) {
			return known.advice
		}
	}
	return "see docker service ps --no-trunc"
}
