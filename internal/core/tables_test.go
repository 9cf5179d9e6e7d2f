package core

import (
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// While much changes, every answer is late: were it dropped, proxies would get none
// before all is quiet.
func TestAnAnswerCountsHoweverMuchIsPublishedMeanwhile(t *testing.T) {
	tables := newTables(func() {})
	publish := func(cluster, version string) uint64 {
		return tables.publish(cluster, route.Built{Version: version, Table: &route.Table{}}, render.Parameters{}, time.Now())
	}
	asked := publish("one", "a")
	for range 20 {
		publish("one", "b")
		publish("one", "c")
		publish("another", "b")
		publish("another", "c")
	}
	tables.PutBundle("one", asked, "b", render.Result{Bundle: render.Bundle{Token: "another's"}})
	if tables.rendered("one").bundle != nil {
		t.Error("an answer to another core is taken")
	}
	tables.PutBundle("one", asked, "a", render.Result{Bundle: render.Bundle{Token: "late"}})
	if b := tables.rendered("one").bundle; b == nil || b.Token != "late" {
		t.Errorf("there is %+v", b)
	}
}
