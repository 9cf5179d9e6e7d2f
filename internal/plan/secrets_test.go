package plan_test

import (
	"slices"
	"testing"
	"time"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// mounting is a service whose secrets are added as time passes.
type mounting struct {
	t       *testing.T
	mounts  plan.SecretMounts
	service *snapshot.Service
	now     time.Time
	updates int
}

func newMounting(t *testing.T, needed ...string) *mounting {
	t.Helper()
	m := &mounting{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	m.need(needed...)
	return m
}

// need plans and applies what the named secrets make necessary now.
func (m *mounting) need(names ...string) (again time.Duration) {
	m.t.Helper()
	w := want(func(s *snapshot.ServiceSpec) {
		s.Secrets = []snapshot.FileRef{{ID: "id", Name: "identity", Target: "identity", Mode: 0o444}}
	})
	var needed []snapshot.FileRef
	for _, name := range names {
		needed = append(needed, snapshot.FileRef{ID: "id-" + name, Name: name, Target: name, UID: "65532", Mode: 0o400})
	}
	again = m.mounts.Add(m.service, &w, needed, m.now)
	s := NewSwarm(1)
	if m.service != nil {
		s.Service("interlock-proxy", nil, func(s *snapshot.Service) { s.Spec, s.Update = m.service.Spec, m.service.Update })
	}
	actions, problems := keeper.Services(s.Snapshot(), []plan.Wanted{w})
	if len(problems) > 0 {
		m.t.Fatal(problems)
	}
	for _, a := range actions {
		m.updates++
		m.service = &snapshot.Service{ID: "svc-interlock-proxy", Spec: a.Spec}
	}
	return again
}

// after lets time pass first.
func (m *mounting) after(d time.Duration, names ...string) time.Duration {
	m.t.Helper()
	m.now = m.now.Add(d)
	return m.need(names...)
}

// expect fails unless exactly these secrets are mounted, after so many changes.
func (m *mounting) expect(changes int, names ...string) {
	m.t.Helper()
	var got []string
	for _, ref := range m.service.Spec.Secrets {
		if ref.Target != "identity" {
			got = append(got, ref.Target)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, names) || m.updates != changes {
		m.t.Errorf("after %d changes %q are mounted, want %q after %d", m.updates, got, names, changes)
	}
}

func TestAServiceIsMadeWithTheSecretsThatItNeeds(t *testing.T) {
	m := newMounting(t, "a", "b")
	m.expect(1, "a", "b")
	if ref := m.service.Spec.Secrets[0]; ref.ID != "id-a" || ref.UID != "65532" || ref.Mode != 0o400 {
		t.Errorf("mounted as %+v", ref)
	}
	if again := m.after(time.Hour, "a", "b"); again != 0 {
		t.Errorf("something is to be done after %s", again)
	}
	m.expect(1, "a", "b")
}

func TestSecretsThatAreNeededWithinASecondAreMountedInOneUpdate(t *testing.T) {
	m := newMounting(t)
	if again := m.need("a"); again != time.Second {
		t.Errorf("asked again after %s", again)
	}
	m.after(900*time.Millisecond, "a", "b")
	m.expect(1)
	m.after(100*time.Millisecond, "a", "b")
	m.expect(2, "a", "b")
}

func TestAnUpdateUnderWayIsWaitedForButNotForLong(t *testing.T) {
	m := newMounting(t)
	m.service.Update = snapshot.UpdateUpdating
	m.need("a")
	m.after(10*time.Second, "a")
	m.expect(1)
	m.service.Update = snapshot.UpdateCompleted
	m.need("a")
	m.expect(2, "a")

	m.service.Update = snapshot.UpdateUpdating
	if again := m.need("a", "b"); again != 15*time.Second {
		t.Errorf("asked again after %s", again)
	}
	m.after(15*time.Second, "a", "b")
	m.expect(3, "a", "b")
}

func TestASecretThatNobodyNeedsStaysForTenMinutes(t *testing.T) {
	m := newMounting(t, "a", "b", "c")
	if again := m.need("a"); again != 10*time.Minute {
		t.Errorf("asked again after %s", again)
	}
	m.after(5*time.Minute, "a", "c")
	m.after(5*time.Minute-time.Second, "a", "c")
	m.expect(1, "a", "b", "c")
	m.after(time.Second, "a", "c")
	m.expect(2, "a", "c")
}

func TestSecretsThatNobodyNeedsGoTogether(t *testing.T) {
	m := newMounting(t, "a", "b", "c", "d")
	m.need("b", "c", "d")
	m.after(5*time.Minute, "c", "d")
	m.after(4*time.Minute+30*time.Second, "d")
	m.expect(1, "a", "b", "c", "d")
	m.after(30*time.Second, "d")
	m.expect(2, "c", "d")
}

func TestOneThatIsMountedTakesTheUnneededAlong(t *testing.T) {
	m := newMounting(t, "old", "older")
	m.need("old")
	m.after(time.Minute, "new")
	m.expect(1, "old", "older")
	m.after(time.Second, "new")
	m.expect(2, "new", "old")
}

func TestASecretMadeAnewIsMountedInPlaceOfTheOld(t *testing.T) {
	m := newMounting(t, "a")
	m.service.Spec.Labels[plan.LabelApplied] = ""
	m.service.Spec.Secrets[0].ID = "another"
	m.after(time.Second, "a")
	m.after(time.Second, "a")
	for _, ref := range m.service.Spec.Secrets {
		if ref.Target == "a" && ref.ID != "id-a" {
			t.Errorf("mounted is %+v", ref)
		}
	}
}
