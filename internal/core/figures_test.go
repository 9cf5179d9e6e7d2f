package core_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
)

func TestTheCoreTellsOfItsTablesItsProblemsAndItsProxies(t *testing.T) {
	bad := cluster().Service("bad", map[string]string{"com.docker.lb.hosts": "bad.local", "com.docker.lb.port": "none"})
	run(t, bad, config(), func(r running) {
		p, _ := r.Tables().Publication("")
		bundle := render.Bundle{Files: []render.File{{Path: "/etc/nginx/nginx.conf", Content: render.NewContent([]byte("x"))}}}
		r.Tables().PutBundle("", p.Generation, p.Version, render.Result{Bundle: bundle})
		at := func(task string) delivery.Proxy { return delivery.Proxy{Task: task} }
		r.deliverer.report(
			delivery.Status{Proxy: at("a"), Connected: true, BundleVersion: bundle.Version()},
			delivery.Status{Proxy: at("b"), Connected: true, BundleVersion: "old"},
			delivery.Status{Proxy: at("c"), Connected: true, BundleVersion: "old", RefusedVersion: bundle.Version()},
			delivery.Status{Proxy: at("d"), BundleVersion: bundle.Version()},
		)
		r.settle()
		got := r.Figures()
		if got.Passes == 0 || got.Published == 0 || !got.SourceHealthy {
			t.Errorf("got %+v", got)
		}
		want := core.Figures{
			Clusters: []core.ClusterFigures{{Version: p.Version, Generation: p.Generation, Rendered: true}},
			Proxies:  []core.ProxyFigures{{State: "current", Count: 1}, {State: "outdated", Count: 1}, {State: "refusing", Count: 1}, {State: "unreachable", Count: 1}},
		}
		if diff := cmp.Diff(want.Clusters, got.Clusters); diff != "" {
			t.Errorf("clusters (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want.Proxies, got.Proxies); diff != "" {
			t.Errorf("proxies (-want +got):\n%s", diff)
		}
		kinds := make(map[problem.Kind]int)
		for _, p := range r.Problems() {
			kinds[p.Kind]++
		}
		for _, p := range got.Problems {
			if p.Count != kinds[p.Kind] {
				t.Errorf("%d problems of kind %s, want %d", p.Count, p.Kind, kinds[p.Kind])
			}
		}
		if len(kinds) == 0 || len(got.Problems) != len(kinds) || kinds[problem.BadLabel] != 1 {
			t.Errorf("problems: %v, want %v", got.Problems, kinds)
		}
	})
}
