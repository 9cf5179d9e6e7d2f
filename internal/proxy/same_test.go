package proxy

import (
	"reflect"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// Whoever gives a table another field decides in same.go what a change of it is.
func TestEveryFieldOfATableIsCompared(t *testing.T) {
	for _, known := range []struct {
		of     any
		fields int
	}{
		{route.Table{}, 4},
		{route.VirtualHost{}, 4},
		{route.Redirect{}, 2},
		{route.Route{}, 5},
		{route.Passthrough{}, 3},
		{route.Credential{}, 3},
		{render.Pair{}, 2},
		{route.Forward{}, 3},
		{route.Affinity{}, 2},
		{route.Upstream{}, 7},
		{route.TLS{}, 1},
		{route.Endpoint{}, 2},
	} {
		if of := reflect.TypeOf(known.of); of.NumField() != known.fields {
			t.Errorf("%s has %d fields, and %d are compared", of, of.NumField(), known.fields)
		}
	}
}
