package probe_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/probe"
)

func TestForASecondItIsKnownThatAnAddressHasAccepted(t *testing.T) {
	open, other := listening(t, waitForClient), listening(t, waitForClient)
	closed := vacant(t)
	synctest.Test(t, func(t *testing.T) {
		var seen probe.Memory
		if !seen.Knock(t.Context(), open) || seen.Knock(t.Context(), closed) {
			t.Fatal("it does not knock")
		}
		if !seen.Accepted(open) || seen.Accepted(closed) || seen.Accepted(other) {
			t.Errorf("accepted: %t, %t and %t, want only the first", seen.Accepted(open), seen.Accepted(closed), seen.Accepted(other))
		}
		time.Sleep(time.Second)
		if seen.Accepted(open) {
			t.Error("it still counts after a second")
		}
	})
}
