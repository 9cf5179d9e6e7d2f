package install

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// planStandalone makes the one service, or brings it up to date.
func (s *Stack) planStandalone(p *Plan, snap *snapshot.Snapshot, swarm Swarm) {
	current := findService(snap, standaloneService)
	verb := "create"
	if current != nil {
		verb = "update"
	}
	if current != nil && current.Spec.Labels[labelDigest] == s.digest {
		return
	}
	where := "managers"
	if s.options.LoadBalancers != "" {
		where += " with " + s.options.LoadBalancers
	}
	p.add(fmt.Sprintf("%s the service %s, %d × on %s, which reads Swarm and serves clients", verb, standaloneService, s.options.Proxies, where),
		func(ctx context.Context) error {
			_, err := swarm.Deploy(ctx, current, s.standaloneDeployment(current))
			return err
		})
}

// standaloneDeployment is the service as the stack file has it. What the operator
// has given the one that is there stays: secrets for TLS, apps' networks, and how
// long requests may take to finish.
func (s *Stack) standaloneDeployment(current *snapshot.Service) docker.Deployment {
	replicas := uint64(s.options.Proxies)
	spec := snapshot.ServiceSpec{
		Name: standaloneService, Image: s.image("interlock"),
		Args:        []string{"standalone", "--redirect-port", strconv.Itoa(s.options.SSLPort)},
		Labels:      map[string]string{labelStack: stackName, "com.docker.stack.image": s.image("interlock"), labelDigest: s.digest},
		Replicas:    &replicas,
		Constraints: []string{"node.role==manager"},
		Mounts: []snapshot.Mount{
			{Type: "bind", Source: "/var/run/docker.sock", Target: "/var/run/docker.sock"},
			{Type: "volume", Source: standaloneVolume, Target: "/var/lib/interlock"},
		},
		Ports: []snapshot.Port{
			{Protocol: "tcp", Target: 80, Published: uint16(s.options.Port), Mode: snapshot.PublishHost},
			{Protocol: "tcp", Target: 443, Published: uint16(s.options.SSLPort), Mode: snapshot.PublishHost},
		},
		ReadOnly: true, CapabilityDrop: []string{"ALL"},
		ContainerLabels: map[string]string{labelStack: stackName},
		UpdateOrder:     "stop-first", RestartDelay: new(restartDelay),
	}
	if s.options.LoadBalancers != "" {
		spec.Constraints = append(spec.Constraints, "node.labels."+s.constraint())
	}
	if current != nil {
		spec.Secrets, spec.Networks, spec.StopGracePeriod = current.Spec.Secrets, current.Spec.Networks, current.Spec.StopGracePeriod
	}
	return docker.Deployment{Spec: spec, Health: health("--admin", "127.0.0.1:9090"), RollBack: true, Monitor: 10 * time.Second}
}
