package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const confPath = "/etc/nginx/nginx.conf"

// bundles is a Swarm with so many configs of the extension default, bundle-1 the
// oldest.
func bundles(count int, change ...func(*snapshot.Lists)) *snapshot.Snapshot {
	lists := NewSwarm(1).Service("interlock-proxy", nil).Service("interlock", nil).Lists()
	for i := 1; i <= count; i++ {
		name := fmt.Sprintf("bundle-%d", i)
		lists.Configs = append(lists.Configs, snapshot.Object{
			ID: "id-" + name, Name: name, CreatedAt: time.Unix(int64(i), 0), Labels: keeper.ConfigLabels(name, "default", confPath),
		})
	}
	for _, f := range change {
		f(&lists)
	}
	return lists.Snapshot(nil)
}

func names(list []snapshot.Object) []string {
	var all []string
	for _, o := range list {
		all = append(all, o.Name)
	}
	return all
}

func wantSurplus(t *testing.T, snap *snapshot.Snapshot, needed []snapshot.FileRef, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, names(keeper.Surplus(snap, "default", needed, 3))); diff != "" {
		t.Errorf("configs to remove (-want +got):\n%s", diff)
	}
}

func TestTheThreeNewestConfigsStay(t *testing.T) {
	wantSurplus(t, bundles(3), nil)
	wantSurplus(t, bundles(5), nil, "bundle-2", "bundle-1")
}

func TestAConfigThatSomebodyNeedsStaysHoweverOld(t *testing.T) {
	used := func(s *snapshot.Lists) {
		s.Services[0].Spec.Configs = []snapshot.FileRef{{ID: "id-bundle-1", Target: confPath}}
	}
	previous := func(s *snapshot.Lists) { s.Services[0].PreviousConfigs = []string{"id-bundle-2"} }
	wantSurplus(t, bundles(5, used), nil, "bundle-3", "bundle-2")
	wantSurplus(t, bundles(5, used, previous), nil, "bundle-4", "bundle-3")
	wantSurplus(t, bundles(5, used, previous), []snapshot.FileRef{{ID: "id-bundle-3"}}, "bundle-5", "bundle-4")
}

func TestEachFileOfABundleKeepsItsOwnConfigs(t *testing.T) {
	wantSurplus(t, bundles(4, func(s *snapshot.Lists) {
		s.Configs[0].Labels = keeper.ConfigLabels("bundle-1", "default", "/etc/nginx/more.conf")
	}), nil)
}

// A large configuration has parts, and fewer when it shrinks.
func TestOfAFileThatProxiesHaveNoMoreNoConfigStays(t *testing.T) {
	part := func(s *snapshot.Lists) {
		s.Configs[0].Labels = keeper.ConfigLabels("bundle-1", "default", "/etc/nginx/part-7.conf")
	}
	used := func(s *snapshot.Lists) {
		s.Services[0].Spec.Configs = []snapshot.FileRef{{ID: "id-bundle-3", Target: confPath}}
	}
	previous := func(s *snapshot.Lists) { s.Services[0].PreviousConfigs = []string{"id-bundle-1"} }
	wantSurplus(t, bundles(3, part), nil)
	wantSurplus(t, bundles(3, part, used), nil, "bundle-1")
	wantSurplus(t, bundles(3, part, used, previous), nil)
	wantSurplus(t, bundles(3, part, used), []snapshot.FileRef{{ID: "id-bundle-1"}})
}

func TestConfigsThatAreNotOursStay(t *testing.T) {
	for whose, change := range map[string]func(*snapshot.Object){
		"of somebody who copied the labels": func(o *snapshot.Object) { o.Name = "copied" },
		"of another extension":              func(o *snapshot.Object) { o.Labels = keeper.ConfigLabels(o.Name, "other", confPath) },
		"of another core": func(o *snapshot.Object) {
			o.Labels = plan.Keeper{Owner: "svc-interlock", Seal: keeper.Seal}.ConfigLabels(o.Name, "default", confPath)
		},
		"with another role": func(o *snapshot.Object) { o.Labels[plan.LabelRole] = "authority" },
	} {
		t.Run(whose, func(t *testing.T) {
			wantSurplus(t, bundles(4, func(s *snapshot.Lists) { change(&s.Configs[0]) }), nil)
		})
	}
}

func TestConfigsOfACoreThatIsGoneAreOurs(t *testing.T) {
	gone := plan.Keeper{Owner: "svc-gone", Seal: keeper.Seal}
	wantSurplus(t, bundles(4, func(s *snapshot.Lists) {
		s.Configs[0].Labels = gone.ConfigLabels("bundle-1", "default", confPath)
	}), nil, "bundle-1")
}
