package settings

import (
	"fmt"
	"strings"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// claim is the first extension that asked for something.
type claim struct {
	by     *draft
	offset int
}

// checkConflicts reports what no two extensions may both have. The later one
// in the file is the one at fault.
func checkConflicts(r *reader, list []*draft) {
	clusters := map[string]claim{}
	services := map[string]claim{}
	for _, d := range list {
		d.claimCluster(r, clusters)
		d.claimService(r, services, "ServiceName", d.ServiceName)
		d.claimService(r, services, "ProxyServiceName", d.ProxyServiceName)
	}
	checkPorts(r, list)
}

// at returns where the key stands, or the extension's header if it does not.
func (d *draft) at(key string) int {
	if v := d.given[key]; v != nil {
		return v.offset
	}
	return d.offset
}

func (d *draft) claimCluster(r *reader, taken map[string]claim) {
	first, ok := taken[d.ServiceCluster]
	if !ok {
		taken[d.ServiceCluster] = claim{d, d.at("ServiceCluster")}
		return
	}
	message := "%s is already served by extension %s on line %d; give each extension a cluster of its own"
	which := "the cluster " + quote(d.ServiceCluster)
	if d.ServiceCluster == "" {
		which = "without this key the extension serves the default cluster, which"
	}
	r.fault(d.at("ServiceCluster"), d.path+".ServiceCluster", message, which, keyName(first.by.Name), r.source.line(first.offset))
}

func (d *draft) claimService(r *reader, taken map[string]claim, key, name string) {
	if name == "" {
		return
	}
	// Swarm finds services by name without regard to case.
	folded := strings.ToLower(name)
	first, ok := taken[folded]
	if !ok {
		taken[folded] = claim{d, d.at(key)}
		return
	}
	r.fault(d.at(key), d.path+"."+key, "%s is already the name of a service of extension %s on line %d; Swarm takes each name once",
		quote(name), keyName(first.by.Name), r.source.line(first.offset))
}

// publication is one port that an extension publishes.
type publication struct {
	by      *draft
	key     string
	port    uint16
	ingress bool
}

func (d *draft) publications() []publication {
	ingress := d.PublishMode == snapshot.PublishIngress
	var list []publication
	for _, p := range []publication{{d, "PublishedPort", d.PublishedPort, ingress}, {d, "PublishedSSLPort", d.PublishedSSLPort, ingress}} {
		if p.port != 0 {
			list = append(list, p)
		}
	}
	return list
}

// checkPorts reports ports that are asked for twice. Several services may
// publish the same port on nodes of their own, but Swarm refuses the port of
// the routing mesh to any other service.
func checkPorts(r *reader, list []*draft) {
	first := map[uint16]publication{}
	mesh := map[uint16]publication{}
	for _, d := range list {
		if d.TargetPort == d.TargetSSLPort {
			r.fault(d.at("TargetSSLPort"), d.path+".TargetSSLPort", "%d is TargetPort as well; plain HTTP and TLS need a port each", d.TargetSSLPort)
		}
		for _, p := range d.publications() {
			other, taken := mesh[p.port]
			if !taken {
				other, taken = first[p.port]
				taken = taken && (p.ingress || other.by == d)
			}
			if taken {
				r.fault(d.at(p.key), d.path+"."+p.key, "%s", p.clash(r, other))
				continue
			}
			if _, ok := first[p.port]; !ok {
				first[p.port] = p
			}
			if p.ingress {
				mesh[p.port] = p
			}
		}
	}
}

func (p publication) clash(r *reader, other publication) string {
	if other.by == p.by {
		return fmt.Sprintf("%d is PublishedPort as well; plain HTTP and TLS need a port each", p.port)
	}
	return fmt.Sprintf(`port %d is already published by extension %s on line %d; two extensions may share a port only if both have PublishMode = "host"`,
		p.port, keyName(other.by.Name), r.source.line(other.by.at(other.key)))
}
