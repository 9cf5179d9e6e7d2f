package install_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/install"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

func newSwarm() *fakeSwarm {
	node := func(name string, labels map[string]string) snapshot.Node {
		return snapshot.Node{ID: name, Hostname: name, Ready: true, Addr: netip.MustParseAddr("192.0.2.1"), Labels: labels}
	}
	edge := map[string]string{"nodetype": "loadbalancer"}
	return &fakeSwarm{lists: snapshot.Lists{Nodes: []snapshot.Node{node("lb-00", edge), node("lb-01", edge), node("worker-00", nil)}}}
}

// fakeSwarm is a Swarm in which whatever is made is there at once.
type fakeSwarm struct {
	lists snapshot.Lists
	made  int
}

func (f *fakeSwarm) Snapshot(context.Context) (*snapshot.Snapshot, error) {
	return f.lists.Snapshot(nil), nil
}

func (f *fakeSwarm) id() string { f.made++; return fmt.Sprintf("id%d", f.made) }

func (f *fakeSwarm) Deploy(_ context.Context, current *snapshot.Service, d docker.Deployment) (string, error) {
	if current != nil {
		i := slices.IndexFunc(f.lists.Services, func(s snapshot.Service) bool { return s.ID == current.ID })
		f.lists.Services[i].Spec = d.Spec
		return current.ID, nil
	}
	s := snapshot.Service{ID: f.id(), Spec: d.Spec}
	f.lists.Services = append(f.lists.Services, s)
	return s.ID, nil
}

func (f *fakeSwarm) CreateNetwork(_ context.Context, name string, labels map[string]string) (string, error) {
	n := snapshot.Network{ID: f.id(), Name: name, Labels: labels}
	f.lists.Networks = append(f.lists.Networks, n)
	return n.ID, nil
}

func (f *fakeSwarm) CreateConfig(_ context.Context, name string, labels map[string]string, _ []byte) (string, error) {
	return f.object(&f.lists.Configs, name, labels), nil
}

func (f *fakeSwarm) CreateSecret(_ context.Context, name string, labels map[string]string, _ []byte) (string, error) {
	return f.object(&f.lists.Secrets, name, labels), nil
}

func (f *fakeSwarm) object(list *[]snapshot.Object, name string, labels map[string]string) string {
	o := snapshot.Object{ID: f.id(), Name: name, Labels: labels}
	*list = append(*list, o)
	return o.ID
}

func (f *fakeSwarm) RemoveService(_ context.Context, id string) error {
	f.lists.Services = slices.DeleteFunc(f.lists.Services, func(s snapshot.Service) bool { return s.ID == id })
	return nil
}

func (f *fakeSwarm) RemoveNetwork(_ context.Context, id string) error {
	f.lists.Networks = slices.DeleteFunc(f.lists.Networks, func(n snapshot.Network) bool { return n.ID == id })
	return nil
}

func (f *fakeSwarm) RemoveConfig(_ context.Context, id string) error {
	f.lists.Configs = slices.DeleteFunc(f.lists.Configs, func(o snapshot.Object) bool { return o.ID == id })
	return nil
}

func (f *fakeSwarm) RemoveSecret(_ context.Context, id string) error {
	f.lists.Secrets = slices.DeleteFunc(f.lists.Secrets, func(o snapshot.Object) bool { return o.ID == id })
	return nil
}

// installOn plans and applies, and returns the steps.
func installOn(t *testing.T, f *fakeSwarm, o install.Options) []string {
	t.Helper()
	stack, err := install.NewStack(o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := stack.Plan(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, p)
	return p.Steps
}

func apply(t *testing.T, p *install.Plan) {
	t.Helper()
	if err := p.Apply(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
}

func TestASecondInstallChangesNothingAndOtherFlagsUpdate(t *testing.T) {
	f, o := newSwarm(), options("proxy-only")
	if steps := installOn(t, f, o); len(steps) != 4 {
		t.Errorf("the first install has the steps %q", steps)
	}
	core := f.lists.Services[0].Spec
	if core.Networks[0] != f.lists.Networks[0].ID || core.Configs[0].ID != f.lists.Configs[0].ID || core.Secrets[0].ID != f.lists.Secrets[0].ID {
		t.Errorf("the core's service does not use what was made for it: %+v", core)
	}
	if steps := installOn(t, f, o); len(steps) != 0 {
		t.Errorf("the second install has the steps %q", steps)
	}
	o.Port = 8080
	steps := installOn(t, f, o)
	if len(steps) != 2 || !strings.HasPrefix(steps[0], "create the config ") || !strings.HasPrefix(steps[1], "update the service interlock_core") {
		t.Errorf("an install with another port has the steps %q", steps)
	}
}

func TestAStandaloneIsOneServiceThatKeepsWhatTheOperatorGaveIt(t *testing.T) {
	f, o := newSwarm(), options(install.Standalone)
	o.Proxies = 1
	stack, err := install.NewStack(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Plan(t.Context(), f); err == nil || !strings.Contains(err.Error(), "no manager has the label nodetype=loadbalancer") {
		t.Errorf("where only workers have the label: %v", err)
	}
	f.lists.Nodes[2].Manager, o.LoadBalancers = true, ""
	if steps := installOn(t, f, o); len(steps) != 1 || !strings.HasPrefix(steps[0], "create the service interlock_standalone, 1 × on managers") {
		t.Fatalf("the steps are %q", steps)
	}
	if steps := installOn(t, f, o); len(steps) != 0 {
		t.Errorf("a second install has the steps %q", steps)
	}
	service := findService(t, f, "interlock_standalone")
	service.Spec.Secrets, service.Spec.StopGracePeriod = []snapshot.FileRef{{ID: "cert"}}, new(time.Minute)
	o.Port = 8080
	steps := installOn(t, f, o)
	if kept := findService(t, f, "interlock_standalone").Spec; len(steps) != 1 || len(kept.Secrets) != 1 || kept.StopGracePeriod == nil {
		t.Errorf("another port: the steps are %q, the service is %+v", steps, service.Spec)
	}
	p, err := install.Removal(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, p)
	if len(f.lists.Services) != 0 {
		t.Errorf("uninstall leaves %+v", f.lists.Services)
	}
}

func findService(t *testing.T, f *fakeSwarm, name string) *snapshot.Service {
	t.Helper()
	for i := range f.lists.Services {
		if f.lists.Services[i].Spec.Name == name {
			return &f.lists.Services[i]
		}
	}
	t.Fatalf("there is no service %s", name)
	return nil
}

func TestWhatKeepsTrafficFromFlowingIsSaidBeforeAnythingIsDone(t *testing.T) {
	service := func(name, label, value string, ports ...snapshot.Port) snapshot.Service {
		return snapshot.Service{ID: name, Spec: snapshot.ServiceSpec{Name: name, Labels: map[string]string{label: value}, Ports: ports}}
	}
	host := snapshot.Port{Protocol: "tcp", Target: 8080, Published: 443, Mode: snapshot.PublishHost}
	for want, spoil := range map[string]func(*fakeSwarm){
		"no node has the label nodetype=loadbalancer": func(f *fakeSwarm) { f.lists.Nodes = f.lists.Nodes[2:] },
		"none is ready":                       func(f *fakeSwarm) { f.lists.Nodes[0].Ready, f.lists.Nodes[1].Ready = false, false },
		"need as many nodes, and there are 1": func(f *fakeSwarm) { f.lists.Nodes = f.lists.Nodes[1:] },
		"a service interlock_core exists and is none of the stack": func(f *fakeSwarm) {
			f.lists.Services = []snapshot.Service{service("interlock_core", "", "")}
		},
		"a service interlock-proxy exists and belongs to another": func(f *fakeSwarm) {
			f.lists.Services = []snapshot.Service{service("interlock-proxy", "", "")}
		},
		"port 443 is published by the service shop": func(f *fakeSwarm) {
			f.lists.Services = []snapshot.Service{service("shop", "", "", host)}
			f.lists.Tasks = []snapshot.Task{{ID: "1", ServiceID: "shop", NodeID: "lb-01"}}
		},
	} {
		t.Run(want, func(t *testing.T) {
			f := newSwarm()
			spoil(f)
			stack, err := install.NewStack(options("hybrid"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stack.Plan(t.Context(), f); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAPortPublishedWhereNoProxyRunsIsNoObstacle(t *testing.T) {
	f := newSwarm()
	f.lists.Services = []snapshot.Service{{ID: "shop", Spec: snapshot.ServiceSpec{Name: "shop", Ports: []snapshot.Port{
		{Protocol: "tcp", Target: 8080, Published: 80, Mode: snapshot.PublishHost},
	}}}}
	f.lists.Tasks = []snapshot.Task{{ID: "1", ServiceID: "shop", NodeID: "worker-00"}}
	installOn(t, f, options("hybrid"))
}

func TestUninstallRemovesOurOwnAndNothingElse(t *testing.T) {
	f := newSwarm()
	installOn(t, f, options("application-only"))
	kept := func(name, owner, secret string) snapshot.Service {
		return snapshot.Service{ID: name, Spec: snapshot.ServiceSpec{
			Name: name, Labels: map[string]string{plan.LabelRole: "proxy", plan.LabelOwner: owner},
			Secrets: []snapshot.FileRef{{ID: secret}},
		}}
	}
	identity := func(id string) snapshot.Object {
		return snapshot.Object{ID: id, Name: id, Labels: map[string]string{plan.LabelRole: "proxy"}}
	}
	core := f.lists.Services[0].ID
	f.lists.Services = append(f.lists.Services, kept("interlock-proxy", core, "ours"), kept("their-proxy", "theirs", "theirs"),
		snapshot.Service{ID: "shop", Spec: snapshot.ServiceSpec{Name: "shop"}})
	f.lists.Secrets = append(f.lists.Secrets, identity("ours"), identity("theirs"), snapshot.Object{ID: "shop.key", Name: "shop.key"})
	f.lists.Networks = append(f.lists.Networks, snapshot.Network{ID: "front", Name: "front"})

	p, err := install.Removal(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, p)
	var left []string
	for _, s := range f.lists.Services {
		left = append(left, s.ID)
	}
	for _, list := range [][]snapshot.Object{f.lists.Secrets, f.lists.Configs} {
		for _, o := range list {
			left = append(left, o.ID)
		}
	}
	for _, n := range f.lists.Networks {
		left = append(left, n.ID)
	}
	if diff := cmp.Diff([]string{"their-proxy", "shop", "theirs", "shop.key", "front"}, left); diff != "" {
		t.Error(diff)
	}
	if p, err := install.Removal(t.Context(), f); err != nil || len(p.Steps) > 0 {
		t.Errorf("a second removal plans %v, %v", p, err)
	}
}
