package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// keeper is the core of service svc-core; its seal can be read in tests.
var keeper = plan.Keeper{Owner: "svc-core", Seal: func(words ...string) string { return strings.Join(words, "/") }}

func proxySpec() snapshot.ServiceSpec {
	replicas := uint64(1)
	return snapshot.ServiceSpec{
		Name: "interlock-proxy", Image: "interlock-proxy:1", Replicas: &replicas, Args: []string{"-v"},
		Labels:      map[string]string{"team": "edge"},
		Env:         map[string]string{"A": "1"},
		Constraints: []string{"node.role==worker"},
		Ports: []snapshot.Port{
			{Protocol: "tcp", Target: 80, Published: 80, Mode: snapshot.PublishHost},
			{Protocol: "tcp", Target: 443, Published: 443, Mode: snapshot.PublishHost},
		},
		StopSignal: "SIGQUIT", RestartDelay: new(time.Second),
	}
}

func want(change ...func(*snapshot.ServiceSpec)) plan.Wanted {
	spec := proxySpec()
	for _, f := range change {
		f(&spec)
	}
	return plan.Wanted{Extension: "default", Role: plan.RoleProxy, Spec: spec}
}

// applied is a Swarm in which w has been applied and then changed by hand.
func applied(t *testing.T, w plan.Wanted, byHand ...func(*snapshot.ServiceSpec)) *Swarm {
	t.Helper()
	actions, _ := keeper.Services(NewSwarm(1).Snapshot(), []plan.Wanted{w})
	if len(actions) != 1 || actions[0].Kind != plan.Create {
		t.Fatalf("an empty Swarm needs one create, got %+v", actions)
	}
	return NewSwarm(1).Service("interlock-proxy", nil, func(s *snapshot.Service) {
		s.Spec = actions[0].Spec
		for _, f := range byHand {
			f(&s.Spec)
		}
	})
}

// next plans w over a Swarm and returns the one update that it needs, if any.
func next(t *testing.T, s *Swarm, w plan.Wanted) *plan.Action {
	t.Helper()
	actions, problems := keeper.Services(s.Snapshot(), []plan.Wanted{w})
	for _, p := range problems {
		t.Errorf("unexpected problem: %s", p)
	}
	if len(actions) == 0 {
		return nil
	}
	if len(actions) != 1 || actions[0].Kind != plan.Update {
		t.Fatalf("want one update, got %+v", actions)
	}
	return &actions[0]
}

func TestWhatIsAsWantedIsLeftAlone(t *testing.T) {
	if a := next(t, applied(t, want()), want()); a != nil {
		t.Errorf("an update for nothing: %v", a.Changed)
	}
}

func byOperator(s *snapshot.ServiceSpec) {
	replicas, delay, restart := uint64(2), 5*time.Second, 20*time.Second
	s.Constraints = append(s.Constraints, "node.labels.nodetype==loadbalancer")
	s.Replicas, s.UpdateDelay, s.RestartDelay, s.StopSignal = &replicas, &delay, &restart, "SIGTERM"
	s.Labels["owner"] = "alice"
	s.Env["B"] = "2"
	s.Image += "@sha256:abc"
	s.Ports[0].Published = 8080
}

func TestTheOperatorsOwnChangesAloneCauseNoUpdate(t *testing.T) {
	if a := next(t, applied(t, want(), byOperator), want()); a != nil {
		t.Errorf("an update that would undo the operator's: %v", a.Changed)
	}
}

func TestTheOperatorsOwnChangesSurviveAChangeOfTheConfiguration(t *testing.T) {
	changed := want(func(s *snapshot.ServiceSpec) {
		s.Image = "interlock-proxy:2"
		s.Constraints = []string{"node.platform.os==linux"}
		s.Labels = map[string]string{"team": "web"}
		s.Ports[1].Published = 8443
		s.StopSignal = ""
	})
	a := next(t, applied(t, want(), byOperator), changed)
	if a == nil {
		t.Fatal("no update for a changed configuration")
	}
	replicas, delay, restart := uint64(2), 5*time.Second, 20*time.Second
	wanted := snapshot.ServiceSpec{
		Name: "interlock-proxy", Image: "interlock-proxy:2", Args: []string{"-v"}, Replicas: &replicas, UpdateDelay: &delay, RestartDelay: &restart,
		Labels:      map[string]string{"team": "web", "owner": "alice"},
		Env:         map[string]string{"A": "1", "B": "2"},
		Constraints: []string{"node.labels.nodetype==loadbalancer", "node.platform.os==linux"},
		Ports: []snapshot.Port{
			{Protocol: "tcp", Target: 80, Published: 8080, Mode: snapshot.PublishHost},
			{Protocol: "tcp", Target: 443, Published: 8443, Mode: snapshot.PublishHost},
		},
	}
	got := a.Spec
	for _, label := range []string{plan.LabelApplied, plan.LabelExtension, plan.LabelRole, plan.LabelOwner, plan.LabelSeal} {
		if got.Labels[label] == "" {
			t.Errorf("the update loses label %s", label)
		}
		delete(got.Labels, label)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("specification (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"constraints", "image", "labels", "ports", "stopSignal"}, a.Changed); diff != "" {
		t.Errorf("changed fields (-want +got):\n%s", diff)
	}
}

func TestAnUpdateNamesTheVersionThatItWasPlannedFor(t *testing.T) {
	a := next(t, applied(t, want(), func(s *snapshot.ServiceSpec) {}), want(func(s *snapshot.ServiceSpec) { s.Image = "x:2" }))
	if a == nil || a.ServiceID != "svc-interlock-proxy" || a.Version != 1 {
		t.Errorf("got %+v, want an update of svc-interlock-proxy at version 1", a)
	}
}

func TestALostLabelOfOursTakesNothingAway(t *testing.T) {
	s := applied(t, want(), byOperator, func(s *snapshot.ServiceSpec) { delete(s.Labels, plan.LabelApplied) })
	a := next(t, s, want())
	if a == nil {
		t.Fatal("no update that writes the label again")
	}
	if diff := cmp.Diff([]string{"node.role==worker", "node.labels.nodetype==loadbalancer"}, a.Spec.Constraints); diff != "" {
		t.Errorf("constraints (-want +got):\n%s", diff)
	}
}

func TestAServiceOfSomebodyElseWithTheNameIsNotTouched(t *testing.T) {
	s := NewSwarm(1).Service("interlock-proxy", map[string]string{"app": "theirs"})
	actions, problems := keeper.Services(s.Snapshot(), []plan.Wanted{want()})
	if len(actions) != 0 {
		t.Errorf("planned %+v", actions)
	}
	wantProblem := []problem.Problem{{Kind: problem.NameTaken, Service: "interlock-proxy", Message: "the proxy of extension default should have this name, but a service that Interlock did not create has it: remove that service or choose another name in config.toml"}}
	if diff := cmp.Diff(wantProblem, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestAServiceThatTheConfigurationNoLongerNamesIsAbandoned(t *testing.T) {
	snap := applied(t, want()).Service("stranger", map[string]string{plan.LabelExtension: "gone", plan.LabelRole: "proxy", plan.LabelSeal: "copied"}).Snapshot()
	if list := keeper.Abandoned(snap, nil); len(list) != 1 || list[0].Spec.Name != "interlock-proxy" {
		t.Errorf("abandoned: %v", list)
	}
	if list := keeper.Abandoned(snap, []string{"default"}); len(list) != 0 {
		t.Errorf("abandoned, though configured: %v", list)
	}
	if actions, problems := keeper.Services(snap, nil); len(actions) != 0 || len(problems) != 1 || problems[0].Kind != problem.Stranger {
		t.Errorf("actions = %+v, problems = %v; want none and one about the stranger", actions, problems)
	}
}

func TestARenamedServiceIsToldNotDoubled(t *testing.T) {
	renamed := want(func(s *snapshot.ServiceSpec) { s.Name = "edge" })
	actions, problems := keeper.Services(applied(t, want()).Snapshot(), []plan.Wanted{renamed})
	for _, a := range actions {
		if a.Kind == plan.Create || a.Spec.Name != "interlock-proxy" {
			t.Errorf("planned %s of %q", a.Kind, a.Spec.Name)
		}
	}
	if len(problems) != 1 || problems[0].Kind != problem.NameTaken {
		t.Errorf("problems = %v, want one of kind %s", problems, problem.NameTaken)
	}
}

func TestAServiceThatPassesForOursIsNotTouched(t *testing.T) {
	real := applied(t, want())
	copied := real.Snapshot().Services[0].Spec.Labels
	actions, problems := keeper.Services(NewSwarm(1).Service("evil", copied).Snapshot(), []plan.Wanted{want()})
	if len(actions) != 1 || actions[0].Kind != plan.Create {
		t.Errorf("planned %+v, want the real service to be created", actions)
	}
	if len(problems) != 1 || problems[0].Kind != problem.Stranger || problems[0].Service != "evil" {
		t.Errorf("problems = %v, want one of kind %s", problems, problem.Stranger)
	}
}

func TestOfTwoCoresWithOneExtensionTheSecondKeepsItsHandsOff(t *testing.T) {
	s := applied(t, want()).Service("core", nil)
	second := plan.Keeper{Owner: "svc-second", Seal: keeper.Seal}
	changed := want(func(s *snapshot.ServiceSpec) { s.Image = "other:1" })
	actions, problems := second.Services(s.Snapshot(), []plan.Wanted{changed})
	if len(actions) != 0 || len(problems) != 1 || problems[0].Kind != problem.NameTaken {
		t.Errorf("actions = %+v, problems = %v; want none and one of kind %s", actions, problems, problem.NameTaken)
	}
	// A core that was removed and created anew has another ID, and goes on.
	if actions, _ := second.Services(applied(t, want()).Snapshot(), []plan.Wanted{changed}); len(actions) != 1 {
		t.Errorf("planned %+v after the first core has gone, want one update", actions)
	}
}

func TestAPortThatTheOperatorPublishesTwiceIsNotMultiplied(t *testing.T) {
	s := applied(t, want(), func(s *snapshot.ServiceSpec) {
		s.Ports = append(s.Ports, snapshot.Port{Protocol: "tcp", Target: 80, Published: 8080, Mode: snapshot.PublishHost})
	})
	a := next(t, s, want(func(s *snapshot.ServiceSpec) { s.Ports[0].Published = 81 }))
	if a == nil {
		t.Fatal("no update for a changed configuration")
	}
	var published []uint16
	for _, p := range a.Spec.Ports {
		published = append(published, p.Published)
	}
	if diff := cmp.Diff([]uint16{81, 8080, 443}, published); diff != "" {
		t.Errorf("published ports (-want +got):\n%s", diff)
	}
}

func TestATakenPortIsNamedWithItsNode(t *testing.T) {
	const words = "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated"
	s := applied(t, want()).Task("interlock-proxy", 1, 1, States(snapshot.TaskRejected, snapshot.TaskShutdown), func(task *snapshot.Task) { task.Err = words })
	wanted := []problem.Problem{{Kind: problem.PortTaken, Service: "interlock-proxy", Message: "a port that it publishes (80, 443) is already in use on node node-1: free it, or publish another in config.toml; Docker says: " + words}}
	if diff := cmp.Diff(wanted, keeper.TaskProblems(s.Snapshot())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	s.Task("interlock-proxy", 1, 1, func(task *snapshot.Task) { task.ID = "task-again" })
	if problems := keeper.TaskProblems(s.Snapshot()); len(problems) != 0 {
		t.Errorf("the task runs again, but there is still %v", problems)
	}
}
