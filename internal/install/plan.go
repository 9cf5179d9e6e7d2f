package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Swarm is what is needed of the Docker API; docker.Client has it.
type Swarm interface {
	Snapshot(ctx context.Context) (*snapshot.Snapshot, error)
	Deploy(ctx context.Context, current *snapshot.Service, d docker.Deployment) (id string, err error)
	CreateNetwork(ctx context.Context, name string, labels map[string]string) (id string, err error)
	CreateConfig(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error)
	CreateSecret(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error)
	RemoveService(ctx context.Context, id string) error
	RemoveNetwork(ctx context.Context, id string) error
	RemoveConfig(ctx context.Context, id string) error
	RemoveSecret(ctx context.Context, id string) error
}

// Plan is what there is to do, or to undo: one sentence each.
type Plan struct {
	Steps []string
	do    []func(context.Context) error
}

// Apply does it, and tells of every step that is done.
func (p *Plan) Apply(ctx context.Context, done func(step string)) error {
	for i, do := range p.do {
		if err := do(ctx); err != nil {
			return err
		}
		done(p.Steps[i])
	}
	return nil
}

func (p *Plan) add(step string, do func(context.Context) error) {
	p.Steps, p.do = append(p.Steps, step), append(p.do, do)
}

// Plan compares the stack with what the Swarm has. It fails, before anything is
// done, if the Swarm is such that no traffic could flow.
func (s *Stack) Plan(ctx context.Context, swarm Swarm) (*Plan, error) {
	snap, err := swarm.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.obstacles(snap); err != nil {
		return nil, err
	}
	return s.difference(snap, swarm), nil
}

func (s *Stack) difference(snap *snapshot.Snapshot, swarm Swarm) *Plan {
	p := &Plan{}
	if s.options.standalone() {
		s.planStandalone(p, snap, swarm)
		return p
	}
	network := findNetwork(snap, networkName)
	if s.options.overlayCore() && network == "" {
		p.add("create the overlay network "+networkName, func(ctx context.Context) (err error) {
			network, err = swarm.CreateNetwork(ctx, networkName, map[string]string{labelStack: stackName})
			return err
		})
	}
	config := findObject(snap.Configs, s.configName)
	if config.ID == "" {
		p.add("create the config "+s.configName, func(ctx context.Context) (err error) {
			labels := map[string]string{labelStack: stackName, plan.LabelRole: roleConfiguration}
			config.Name = s.configName
			config.ID, err = swarm.CreateConfig(ctx, s.configName, labels, []byte(s.Config))
			return err
		})
	}
	authority := findObject(snap.Secrets, authorityName)
	if authority.ID == "" {
		p.add("create the secret "+authorityName+", which signs the identities of all parts", func(ctx context.Context) (err error) {
			authority.Name = authorityName
			authority.ID, err = createAuthority(ctx, swarm)
			return err
		})
	}
	core := findService(snap, coreService)
	verb := "create"
	if core != nil {
		verb = "update"
	}
	if core == nil || core.Spec.Labels[labelDigest] != s.digest {
		p.add(fmt.Sprintf("%s the service %s, which makes %s and %d × %s on %s", verb, coreService, extensionName, s.options.Proxies, proxyName, s.where()),
			func(ctx context.Context) error {
				_, err := swarm.Deploy(ctx, core, s.deployment(config, authority, network))
				return err
			})
	}
	return p
}

// where the proxies are going to run.
func (s *Stack) where() string {
	if s.options.LoadBalancers == "" {
		return "any node"
	}
	return "nodes with " + s.options.LoadBalancers
}

func createAuthority(ctx context.Context, swarm Swarm) (string, error) {
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		return "", fmt.Errorf("making an authority: %w", err)
	}
	return swarm.CreateSecret(ctx, authorityName, map[string]string{labelStack: stackName}, authority.PEM())
}

func findService(snap *snapshot.Snapshot, name string) *snapshot.Service {
	for _, s := range snap.Services {
		if s.Spec.Name == name {
			return s
		}
	}
	return nil
}

func findNetwork(snap *snapshot.Snapshot, name string) (id string) {
	for _, n := range snap.Networks {
		if n.Name == name {
			return n.ID
		}
	}
	return ""
}

func findObject(list []snapshot.Object, name string) snapshot.Object {
	for _, o := range list {
		if o.Name == name {
			return o
		}
	}
	return snapshot.Object{}
}

// bears reports whether a node has the label NAME=VALUE.
func bears(n *snapshot.Node, label string) bool {
	name, value, _ := strings.Cut(label, "=")
	has, there := n.Labels[name]
	return there && has == value
}
