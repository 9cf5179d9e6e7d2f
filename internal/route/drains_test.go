package route_test

import (
	"testing"

	. "github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

func TestATableDrainsWhatItTakesAwayFromTheOneBefore(t *testing.T) {
	app := func(slots ...int) *Swarm {
		s := NewSwarm(1).Service("app", labels("hosts", "a.local", "port", "80")).Service("other", labels("hosts", "b.local", "port", "80"))
		for _, slot := range slots {
			s.Task("app", slot, 1, HostPort(80, uint16(30000+slot)))
		}
		return s
	}
	moved := NewSwarm(1).Service("app", labels("hosts", "a.local", "port", "80")).
		Task("app", 1, 1, HostPort(80, 30002)).Task("app", 2, 1, HostPort(80, 30001))
	stopping := app(1).Task("app", 2, 1, HostPort(80, 30002), States(snapshot.TaskRunning, snapshot.TaskShutdown))
	for name, test := range map[string]struct {
		before, after *Swarm
		want          bool
	}{
		"nothing changes":           {app(1, 2), app(1, 2), false},
		"one more":                  {app(1), app(1, 2), false},
		"one less":                  {app(1, 2), app(2), true},
		"one is told to stop":       {app(1, 2), stopping, true},
		"the last one":              {app(1), app(), true},
		"another task at the place": {app(1, 2), moved, true},
		"a service that goes":       {app(1), NewSwarm(1), true},
		"a service that comes":      {NewSwarm(1), app(1), false},
	} {
		t.Run(name, func(t *testing.T) {
			table := func(s *Swarm) *route.Table {
				tables, _, _ := route.Build(s.Snapshot(), []route.Cluster{{}})
				return &tables[0]
			}
			if got := route.Drains(table(test.before), table(test.after)); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
	if route.Drains(nil, &route.Table{}) {
		t.Error("the first table takes something away")
	}
}
