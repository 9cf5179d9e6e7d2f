package snapshot_test

import (
	"testing"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

func TestWhereANodeIsReached(t *testing.T) {
	for _, c := range []struct{ status, manager, want string }{
		{"10.0.0.5", "", "10.0.0.5"},
		{"10.0.0.5", "10.0.0.6:2377", "10.0.0.5"},
		{"0.0.0.0", "10.0.0.6:2377", "10.0.0.6"},
		{"127.0.0.1", "10.0.0.6:2377", "10.0.0.6"},
		{"127.0.0.1", "127.0.0.1:2377", "127.0.0.1"},
		{"127.0.0.1", "", "127.0.0.1"},
		{"0.0.0.0", "[fd00::6]:2377", "fd00::6"},
		{"::ffff:10.0.0.5", "", "10.0.0.5"},
		{"", "", "invalid IP"},
		{"0.0.0.0", "0.0.0.0:2377", "invalid IP"},
		{"node.example", "", "invalid IP"},
	} {
		if got := snapshot.NodeAddr(c.status, c.manager).String(); got != c.want {
			t.Errorf("status %q, manager %q: got %s, want %s", c.status, c.manager, got, c.want)
		}
	}
}
