package delivery

import (
	"log/slog"
	"testing"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
)

// The connections are tested over the real wire, in package rpc.

func TestWhatAProxyIsSent(t *testing.T) {
	b := &Bundle{Bundle: render.Bundle{Files: []render.File{{Path: "/a", Data: []byte("a")}}}, TableVersion: "table"}
	version := b.Version()
	for name, test := range map[string]struct {
		wanted   *Bundle
		status   *interlockv1.WatchStatusResponse
		answered answer
		want     bool
	}{
		"nothing as long as there is no bundle": {
			nil, &interlockv1.WatchStatusResponse{}, answer{}, false,
		},
		"the first bundle": {
			b, &interlockv1.WatchStatusResponse{}, answer{}, true,
		},
		"a bundle that differs from the one it serves": {
			b, &interlockv1.WatchStatusResponse{BundleVersion: "other", TableVersion: "table"}, answer{}, true,
		},
		"the bundle it serves, if it is for another table": {
			b, &interlockv1.WatchStatusResponse{BundleVersion: version, TableVersion: "other"}, answer{}, true,
		},
		"not what it serves": {
			b, &interlockv1.WatchStatusResponse{BundleVersion: version, TableVersion: "table"}, answer{}, false,
		},
		"not what it says it refused": {
			b, &interlockv1.WatchStatusResponse{BundleVersion: "other", RefusedVersion: version}, answer{}, false,
		},
		"not what it has just answered, though its status does not say so yet": {
			b, &interlockv1.WatchStatusResponse{BundleVersion: "other"}, answer{version, "table"}, false,
		},
		"what it refused before another one": {
			b, &interlockv1.WatchStatusResponse{BundleVersion: "other", RefusedVersion: "third"}, answer{"third", "table"}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := New(Options{Logger: slog.New(slog.DiscardHandler)})
			place := Proxy{Task: "t"}
			d.Deliver("c", []Proxy{place}, test.wanted)
			s := session{courier: newCourier(t.Context(), d, target{"c", place}), status: test.status, answered: test.answered}
			if got := s.due() != nil; got != test.want {
				t.Errorf("it is sent something: %v", got)
			}
		})
	}
}

func TestABundleIsPreparedOnceHoweverOftenItIsWrapped(t *testing.T) {
	d := New(Options{Logger: slog.New(slog.DiscardHandler)})
	files := []render.File{{Path: "/a", Data: []byte("a")}}
	wrap := func(table string) *Bundle { return &Bundle{Bundle: render.Bundle{Files: files}, TableVersion: table} }
	d.Deliver("c", nil, wrap("1"))
	first := d.wanted("c")
	d.Deliver("c", nil, wrap("1"))
	if d.wanted("c") != first {
		t.Error("the same bundle was prepared twice")
	}
	d.Deliver("c", nil, wrap("2"))
	if d.wanted("c") == first {
		t.Error("the bundle of another table was not prepared")
	}
}
