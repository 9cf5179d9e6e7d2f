package quarantine_test

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/quarantine"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// refused is in the host of a service that the proxies of these tests refuse.
const refused = "bad"

// world is a cluster of proxies that refuse any table with a bad service in it,
// and a ward that watches over the services.
type world struct {
	t        *testing.T
	ward     *quarantine.Ward
	services []*snapshot.Service
	now      time.Time
	served   map[string]string // host by service, of what the proxies serve
	trials   int
	refusals int // of what should have been served
	// check and load judge the hosts of a table; empty: it is accepted.
	check, load func(hosts map[string]string) string
}

func newWorld(t *testing.T, services int) *world {
	w := &world{t: t, ward: quarantine.New(""), now: time.Unix(0, 0), served: map[string]string{}}
	w.check, w.load = refuseBad, refuseBad
	for i := range services {
		w.set(fmt.Sprintf("app-%04d", i), "good")
	}
	return w
}

func refuseBad(hosts map[string]string) string {
	for _, host := range hosts {
		if strings.Contains(host, refused) {
			return "host not allowed: " + host
		}
	}
	return ""
}

func acceptAll(map[string]string) string { return "" }

// set gives a service a host, and makes the service where there is none.
func (w *world) set(name, host string) {
	spec := snapshot.ServiceSpec{Name: name, Labels: map[string]string{"com.docker.lb.hosts": host, "com.docker.lb.port": "80"}}
	for i := range w.services {
		if w.services[i].Spec.Name == name {
			w.services = slices.Clone(w.services) // readings never change
			w.services[i] = &snapshot.Service{ID: w.services[i].ID, Spec: spec}
			return
		}
	}
	w.services = append(slices.Clip(w.services), &snapshot.Service{ID: "id-" + name, Spec: spec})
}

func hosts(services []*snapshot.Service) map[string]string {
	table := make(map[string]string)
	for _, s := range services {
		if host := s.Spec.Labels["com.docker.lb.hosts"]; host != "" {
			table[s.Spec.Name] = host
		}
	}
	return table
}

// step is one pass of the core, after which the proxies have answered.
func (w *world) step() (news bool) {
	real := hosts(w.ward.Take(w.services))
	trial, ok := w.ward.Trial(w.services)
	refusal := w.check(real)
	if refusal == "" {
		refusal = w.load(real)
	}
	if refusal == "" {
		w.served = real
		news = w.ward.Served(w.now)
	} else {
		w.refusals++
		news = w.ward.Refused(refusal, w.now)
	}
	if ok {
		w.trials++
		news = w.ward.Tried(trial.Number, w.check(hosts(trial.Services)), w.now) || news
	}
	return news
}

// settle steps until nothing is left to do now, and checks after each step that
// no service lost what it was served before.
func (w *world) settle() {
	w.t.Helper()
	before := w.served
	for range 10_000 {
		news := w.step()
		for name := range before {
			if w.served[name] == "" && w.present(name) {
				w.t.Fatalf("%s was served, and is not any more", name)
			}
		}
		if !news && !w.step() {
			return
		}
	}
	w.t.Fatal("it never settles")
}

func (w *world) present(name string) bool {
	return slices.ContainsFunc(w.services, func(s *snapshot.Service) bool { return s.Spec.Name == name })
}

// pass lets time pass as the ward asks for it.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		wait := w.ward.Again(w.now)
		if wait == 0 || wait > end.Sub(w.now) {
			wait = end.Sub(w.now)
		}
		w.now = w.now.Add(wait)
		w.settle()
	}
}

func (w *world) held() []string {
	var names []string
	for _, h := range w.ward.Held() {
		names = append(names, h.Service)
	}
	return names
}

func (w *world) expectHeld(names ...string) {
	w.t.Helper()
	slices.Sort(names)
	if got := w.held(); !slices.Equal(got, names) {
		w.t.Errorf("in quarantine: %v, want %v", got, names)
	}
}

func (w *world) expectServed(name, host string) {
	w.t.Helper()
	if got := w.served[name]; got != host {
		w.t.Errorf("%s is served with %q, want %q", name, got, host)
	}
}

// enough is how many trials must do for that many bad ones among suspects.
func enough(bad, suspects int) int { return 2 + 2*bad*(bits.Len(uint(suspects))+1) }

func TestAnySetOfBadServicesIsFoundAndEverybodyElseServed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		n := 1 + random.IntN(60)
		w := newWorld(t, n)
		known := random.IntN(2) == 0
		if known {
			w.settle()
		}
		var bad []string
		for i := range n {
			if random.IntN(n) < 3 {
				bad = append(bad, fmt.Sprintf("app-%04d", i))
				w.set(bad[len(bad)-1], "bad")
			}
		}
		w.settle()
		w.expectHeld(bad...)
		if w.trials > enough(len(bad), n) {
			t.Errorf("%d bad ones of %d took %d trials", len(bad), n, w.trials)
		}
		for i := range n {
			name := fmt.Sprintf("app-%04d", i)
			switch {
			case known || !slices.Contains(bad, name):
				w.expectServed(name, "good") // who was served goes on as before
			default:
				w.expectServed(name, "")
			}
		}
	}
}

func TestOnlyWhoIsNewOrHasChangedIsSuspectedAtFirst(t *testing.T) {
	w := newWorld(t, 1000)
	w.settle()
	for i := range 7 {
		w.set(fmt.Sprintf("new-%d", i), "good")
	}
	w.set("new-7", "bad")
	w.settle()
	w.expectHeld("new-7")
	w.expectServed("new-6", "good")
	if w.trials > enough(1, 8) {
		t.Errorf("it took %d trials among 1000 services, of which 8 are new", w.trials)
	}
}

func TestWhoHasChangedGoesOnAsItWas(t *testing.T) {
	w := newWorld(t, 3)
	w.settle()
	w.set("app-0001", "bad")
	w.settle()
	w.expectServed("app-0001", "good")
	if held := w.ward.Held(); len(held) != 1 || !held[0].Kept || held[0].Refusal != "host not allowed: bad" {
		t.Errorf("in quarantine: %+v", held)
	}
}

func TestAServiceInQuarantineIsFreedByAChange(t *testing.T) {
	w := newWorld(t, 3)
	w.settle()
	w.set("app-0001", "bad")
	w.settle()
	before := w.trials
	w.set("app-0001", "better")
	w.settle()
	w.expectHeld()
	w.expectServed("app-0001", "better")
	if w.trials != before {
		t.Errorf("a change that is good took %d trials", w.trials-before)
	}
	w.set("app-0001", "bad again")
	w.settle()
	w.expectHeld("app-0001")
	w.expectServed("app-0001", "better")
}

func TestAServiceInQuarantineIsTriedAgainSeldomAndWithoutHarm(t *testing.T) {
	w := newWorld(t, 50)
	w.settle()
	w.set("app-0007", "bad")
	w.settle()
	trials, refusals := w.trials, w.refusals
	w.pass(24 * time.Hour)
	w.expectHeld("app-0007")
	if got := w.trials - trials; got < 20 || got > 70 {
		t.Errorf("%d trials in a day", got)
	}
	if w.refusals != refusals {
		t.Errorf("proxies were sent %d tables that they refuse", w.refusals-refusals)
	}
	w.check, w.load = acceptAll, acceptAll
	w.pass(time.Hour)
	w.expectHeld()
	w.expectServed("app-0007", "bad")
}

func TestAServiceThatIsRemovedLeavesTheQuarantine(t *testing.T) {
	w := newWorld(t, 3)
	w.settle()
	w.set("app-0002", "bad")
	w.settle()
	w.services = w.services[:2]
	w.settle()
	w.expectHeld()
	w.expectServed("app-0002", "")
}

func TestAFaultThatIsNoServicesPutsNobodyIntoQuarantine(t *testing.T) {
	always := func(map[string]string) string { return "unknown directive" }
	for _, known := range []bool{true, false} {
		w := newWorld(t, 20)
		if known {
			w.settle()
			w.set("app-0003", "better")
		}
		w.check = always
		w.settle()
		w.expectHeld()
		if got := w.ward.Outcome(); got != (quarantine.Outcome{Kind: quarantine.NotAService, Refusal: "unknown directive"}) {
			t.Errorf("the outcome is %+v", got)
		}
		trials := w.trials
		w.pass(24 * time.Hour)
		if got := w.trials - trials; got > 150 {
			t.Errorf("%d trials in a day that find nothing", got)
		}
		w.check = refuseBad
		w.settle()
		if got := w.ward.Outcome(); got != (quarantine.Outcome{}) {
			t.Errorf("once the proxies accept a table, the outcome is still %+v", got)
		}
	}
}

func TestWhatOnlyLoadingRefusesIsFoundByServingWhatLosesNoRoute(t *testing.T) {
	w := newWorld(t, 40)
	w.check = acceptAll
	w.settle()
	w.set("app-0009", "bad")
	w.set("new", "bad too")
	w.set("newer", "good")
	w.settle()
	w.expectHeld("app-0009", "new")
	w.expectServed("app-0009", "good")
	w.expectServed("newer", "good")
}

func TestWhatOnlyLoadingRefusesIsLeftAloneWhereNobodyKnowsWhatIsServed(t *testing.T) {
	w := newWorld(t, 10)
	w.check = acceptAll
	w.set("app-0004", "bad")
	w.settle()
	w.expectHeld()
	if got := w.ward.Outcome().Kind; got != quarantine.NotWhenChecked {
		t.Errorf("the outcome is %q", got)
	}
}

func TestOfTwoThatAreRefusedOnlyTogetherOneIsFound(t *testing.T) {
	w := newWorld(t, 10)
	both := func(hosts map[string]string) string {
		if hosts["app-0002"] == "half" && hosts["app-0008"] == "half" {
			return "duplicate"
		}
		return ""
	}
	w.check, w.load = both, both
	w.set("app-0002", "half")
	w.settle()
	w.set("app-0008", "half")
	w.settle()
	w.expectHeld("app-0008")
}

func TestWhatIsServedIsReliedOnEvenWhereItIsToldLate(t *testing.T) {
	w := newWorld(t, 100)
	w.ward.Take(w.services)
	w.ward.Published("first")
	w.set("app-0050", "bad")
	w.ward.Take(w.services)
	w.ward.Published("second")
	w.ward.Serving([]string{"from another life", "first"})
	w.served = map[string]string{"app-0050": "good"}
	w.settle()
	w.expectHeld("app-0050")
	w.expectServed("app-0050", "good")
	if w.trials > 2 {
		t.Errorf("it took %d trials with one suspect", w.trials)
	}
}

func TestATrialThatNobodyAnswersEndsTheSearchForAWhile(t *testing.T) {
	w := newWorld(t, 4)
	w.settle()
	w.set("app-0000", "bad")
	w.step()
	if _, searching := w.ward.Trial(w.services); !searching {
		t.Fatal("nothing is tried")
	}
	w.ward.Abandon("the proxy has gone", w.now)
	if got := w.ward.Outcome(); got.Kind != quarantine.Unanswered || w.step() {
		t.Errorf("it goes on, with the outcome %+v", got)
	}
	w.pass(2 * time.Minute)
	w.expectHeld("app-0000")
}

func TestOtherClustersAreLeftAsTheyAre(t *testing.T) {
	w := newWorld(t, 3)
	elsewhere := &snapshot.Service{ID: "east", Spec: snapshot.ServiceSpec{Name: "east", Labels: map[string]string{
		"com.docker.lb.hosts": "bad in the east", "com.docker.lb.service_cluster": "east",
	}}}
	w.services = append(w.services, elsewhere, &snapshot.Service{ID: "plain", Spec: snapshot.ServiceSpec{Name: "plain"}})
	w.ward.Take(w.services)
	w.ward.Refused("something", w.now)
	w.ward.Take(w.services)
	w.ward.Tried(1, "something", w.now)
	trial, _ := w.ward.Trial(w.services) // of nobody
	if got := hosts(trial.Services); len(got) != 1 || got["east"] == "" || len(trial.Services) != 2 {
		t.Errorf("the trial is of %v", trial.Services)
	}
}
