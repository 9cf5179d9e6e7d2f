package route_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestATaskIsReachedWhereItsRequestsWouldGo(t *testing.T) {
	s := NewSwarm(2).Network("apps").Network("far").
		Service("published", labels("hosts", "a.local", "port", "80")).Task("published", 1, 2, HostPort(80, 32768)).
		Service("inside", labels("hosts", "b.local", "port", "8080"), Joins("apps")).Task("inside", 1, 1, On("apps", "10.0.1.5")).
		Service("elsewhere", labels("hosts", "c.local", "port", "80", "service_cluster", "east")).Task("elsewhere", 1, 1, HostPort(80, 32769)).
		Service("nowhere", labels("hosts", "d.local", "port", "80", "service_cluster", "none")).Task("nowhere", 1, 1, HostPort(80, 32770)).
		Service("unreachable", labels("hosts", "e.local", "port", "80"), Joins("far")).Task("unreachable", 1, 1, On("far", "10.0.2.5")).
		Service("private", nil).Task("private", 1, 1, HostPort(80, 32771)).
		Service("virtual", labels("hosts", "f.local", "port", "80", "backend_mode", "vip"), Joins("apps")).
		VirtualIP("virtual", "apps", "10.0.1.9").Task("virtual", 1, 1, On("apps", "10.0.1.6"))
	snap := s.Snapshot()
	got := map[string]bool{}
	for _, r := range route.Reach(snap, []route.Cluster{{Networks: []string{"net-apps"}}, {Name: "east"}}, slices.Collect(snap.AllTasks())) {
		got[strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Service, r.Addr, r.Cluster))] = true
	}
	for _, want := range []string{"published 10.0.0.2:32768", "inside 10.0.1.5:8080", "elsewhere 10.0.0.1:32769 east"} {
		if !got[want] {
			t.Errorf("%s is not there", want)
		}
		delete(got, want)
	}
	if len(got) != 0 {
		t.Errorf("too many: %v", got)
	}
}
