package rpc_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestWhatNginxRefusesIsTracedToItsServiceWhileAllOthersAreServed(t *testing.T) {
	app := newApp(t)
	s, swarm := newSite(t)
	hosts := map[string]string{"one": "one.test", "two": "two.test", "three": "three.test", "four": "four.test"}
	s.show(swarm(), app, hosts)
	s.serves("one.test", "two.test", "three.test", "four.test")

	hosts["two"], hosts["five"], hosts["six"] = "bad.two.test", "bad.five.test", "six.test"
	s.show(swarm(), app, hosts)
	for deadline := time.Now().Add(patience); len(s.quarantined()) < 2; {
		if time.Now().After(deadline) {
			t.Fatalf("in quarantine: %v; problems: %v", s.quarantined(), s.core.Problems())
		}
		for _, host := range []string{"one.test", "two.test", "three.test", "four.test"} {
			if err := s.get(host); err != nil {
				t.Fatalf("while the bad ones are looked for: %v", err)
			}
		}
	}
	if got := s.quarantined(); !slices.Equal(got, []string{"five", "two"}) {
		t.Errorf("in quarantine: %v", got)
	}
	s.serves("one.test", "two.test", "three.test", "four.test", "six.test")

	hosts["five"] = "five.test"
	s.show(swarm(), app, hosts)
	s.serves("five.test", "two.test")
	eventually(t, "only the other one is in quarantine", func() bool { return slices.Equal(s.quarantined(), []string{"two"}) })
}

func TestABurstOfAHundredChangedLabelsReloadsNginxThreeTimesAtMost(t *testing.T) {
	app := newApp(t)
	s, swarm := newSite(t)
	s.show(swarm(), app, map[string]string{"shop": "shop.test"})
	s.serves("shop.test")
	time.Sleep(2 * time.Second) // as after any time of calm
	reloads := s.countReloads()
	began := time.Now()
	for i := range 100 {
		s.show(swarm(), app, map[string]string{"shop": fmt.Sprintf("shop-%d.test", i)})
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * 10 * time.Millisecond)))
	}
	// A machine that is too busy for a burst may take a reload more each 700 ms.
	allowed := 3 + int(max(0, time.Since(began)-time.Second)/(700*time.Millisecond))
	s.serves("shop-99.test")
	if got := reloads(); got > allowed {
		t.Errorf("nginx was reloaded %d times within %s", got, time.Since(began))
	}
}
