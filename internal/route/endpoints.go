package route

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// endpoints returns where the requests for a service can go now.
func (b *builder) endpoints(w *wish, c Cluster) []Endpoint {
	shared := b.shared(w, c)
	if w.labels.BackendMode == label.BackendVIP {
		return b.virtualIP(w, c, shared)
	}
	usable := b.usable(w.service.ID)
	endpoints := make([]Endpoint, 0, len(usable))
	overNetwork := false
	for _, t := range usable {
		if addr, onNetwork, ok := b.address(t, w, shared); ok {
			endpoints = append(endpoints, Endpoint{Addr: addr, Task: t.ID})
			overNetwork = overNetwork || onNetwork
		}
	}
	if len(usable) > 0 && len(endpoints) == 0 {
		b.report(w.service, problem.NoAddress, "port", fmt.Sprint(w.port), b.noAddressMessage(w, c))
	}
	if overNetwork {
		b.reportManyNetworks(w, c)
	}
	slices.SortFunc(endpoints, func(x, y Endpoint) int {
		return cmp.Or(x.Addr.Compare(y.Addr), strings.Compare(x.Task, y.Task))
	})
	return endpoints
}

// virtualIP returns a service's own address on a network shared with the
// proxies, whatever its tasks do.
func (b *builder) virtualIP(w *wish, c Cluster, shared []string) []Endpoint {
	for _, id := range shared {
		if addr, ok := virtualIP(w.service, id); ok {
			b.reportManyNetworks(w, c)
			return []Endpoint{{Addr: netip.AddrPortFrom(addr, w.port)}}
		}
	}
	message := b.unattachedMessage(w, c)
	if message == "" {
		message = "attach it to one, without endpoint mode dnsrr, or remove the label"
	}
	b.reportLabel(w, problem.NoAddress, "backend_mode", "the service has no virtual IP on a network of the proxies: "+message)
	return []Endpoint{}
}

func virtualIP(s *snapshot.Service, network string) (netip.Addr, bool) {
	for _, v := range s.VirtualIPs {
		if v.NetworkID == network && v.Addr.IsValid() {
			return v.Addr.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// usable returns the tasks that run and are meant to. Those on nodes that
// Swarm calls down are used only while there are no others, because a node
// that managers cannot reach may still serve.
func (b *builder) usable(service string) []*snapshot.Task {
	var ready, doubtful []*snapshot.Task
	for _, t := range b.snap.TasksOf(service) {
		n := b.nodes[t.NodeID]
		reached := n != nil && n.Ready
		switch {
		case t.State != snapshot.TaskRunning:
		case reached && t.Runs():
			ready = append(ready, t)
		case !reached && t.Desired <= snapshot.TaskShutdown:
			// Swarm wants to replace all tasks of such a node, which has not heard of
			// it. A task that is to be removed is one that nobody wants any more.
			doubtful = append(doubtful, t)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return doubtful
}

// address returns where one task takes requests: on the network that a label
// names; else at its node, where the port is published in host mode; else on
// a network shared with the proxies.
func (b *builder) address(t *snapshot.Task, w *wish, shared []string) (addr netip.AddrPort, onNetwork, ok bool) {
	ip, isAttached := attached(t, shared)
	if w.network == "" || !isAttached {
		if addr, ok = b.published(t, w.port); ok {
			return addr, false, true
		}
	}
	return netip.AddrPortFrom(ip, w.port), isAttached, isAttached
}

func (b *builder) published(t *snapshot.Task, target uint16) (netip.AddrPort, bool) {
	n := b.nodes[t.NodeID]
	if n == nil || !n.Addr.IsValid() {
		return netip.AddrPort{}, false
	}
	port, ok := t.HostPort(target, n.Addr)
	return netip.AddrPortFrom(n.Addr, port), ok
}

func attached(t *snapshot.Task, networks []string) (netip.Addr, bool) {
	for _, id := range networks {
		for _, a := range t.Attachments {
			if a.NetworkID == id && len(a.Addrs) > 0 {
				return a.Addrs[0], true
			}
		}
	}
	return netip.Addr{}, false
}
