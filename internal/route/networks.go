package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// need returns the ID of the network that the cluster's proxies must be attached
// to for a service, if there is one. It looks at what the service is specified to
// be rather than at its tasks, because attaching restarts proxies, and tasks come
// and go.
func (b *builder) need(w *wish, c Cluster) (id string, needed bool) {
	vip := w.labels.BackendMode == label.BackendVIP
	if !vip && w.network == "" && publishesInHostMode(w) {
		return "", false
	}
	for _, id := range b.candidates(w, c) {
		if _, has := virtualIP(w.service, id); has || !vip {
			return id, true
		}
	}
	return "", false
}

func publishesInHostMode(w *wish) bool {
	return slices.ContainsFunc(w.service.Spec.Ports, func(p snapshot.Port) bool {
		return p.Mode == snapshot.PublishHost && p.Protocol == "tcp" && p.Target == w.port
	})
}

// candidates returns the IDs of the networks over which the service might be
// reached, now or once the proxies are attached, the preferred one first.
func (b *builder) candidates(w *wish, c Cluster) []string {
	own := b.networks(w)
	var ids []string
	for _, id := range c.Attachable {
		if slices.Contains(own, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range own {
		if slices.Contains(c.Networks, id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// shared returns the IDs of the networks over which all of the cluster's proxies
// can reach the service now, in the order of networks.
func (b *builder) shared(w *wish, c Cluster) []string {
	return slices.DeleteFunc(b.networks(w), func(id string) bool { return !slices.Contains(c.Networks, id) })
}

// networks returns the IDs of the networks over which the service lets itself
// be reached: the one that a label names, else all, in the order of their
// names, so that every reading gives the same answer.
func (b *builder) networks(w *wish) []string {
	var list []*snapshot.Network
	for _, id := range w.service.Spec.Networks {
		if n := b.networkOf(id); n != nil && !n.Ingress && (w.network == "" || id == w.network) {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(x, y *snapshot.Network) int { return strings.Compare(x.Name, y.Name) })
	ids := make([]string, len(list))
	for i, n := range list {
		ids[i] = n.ID
	}
	return ids
}

// reportManyNetworks tells a service whose network was picked for it.
func (b *builder) reportManyNetworks(w *wish, c Cluster) {
	candidates := b.candidates(w, c)
	if len(candidates) < 2 || w.network != "" {
		return
	}
	reached := b.shared(w, c)[0]
	b.report(w.service, problem.ManyNetworks, "network", "", fmt.Sprintf(
		"the proxies may reach the service over several networks: %s; they do over %s, name the right one in the label",
		b.names(candidates), b.networkOf(reached).Name))
}

// names lists the names of known networks.
func (b *builder) names(ids []string) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = b.networkOf(id).Name
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (b *builder) noAddressMessage(w *wish, c Cluster) string {
	message := "its tasks run, but no proxy can reach them: "
	if unattached := b.unattachedMessage(w, c); unattached != "" {
		return message + unattached
	}
	message += fmt.Sprintf("publish the port in host mode (--publish mode=host,target=%d), or attach the service to an overlay network that the proxies may use", w.port)
	var host []uint16
	for _, p := range w.service.Spec.Ports {
		if p.Mode == snapshot.PublishHost && p.Protocol == "tcp" && p.Target != w.port {
			host = append(host, p.Target)
		}
	}
	if len(host) > 0 {
		message += "; in host mode it publishes " + joinPorts(host)
	}
	return message
}

// unattachedMessage says what keeps the proxies from the networks of a service;
// it is empty where that is not the reason why they do not reach it.
func (b *builder) unattachedMessage(w *wish, c Cluster) string {
	own := b.networks(w)
	if len(own) == 0 || len(b.shared(w, c)) > 0 {
		return ""
	}
	if id, needed := b.need(w, c); needed {
		return fmt.Sprintf("not all of them are attached to its network %s yet; where this lasts, docker service ps says why tasks of the proxy service do not start, "+
			"and a network that was taken from that service by hand must be given back by hand", b.networkOf(id).Name)
	}
	if len(b.candidates(w, c)) > 0 {
		return ""
	}
	return fmt.Sprintf("Networks in config.toml keeps them from its network %s: add it to that key", b.names(own))
}
