package agent_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/interlock-lb/interlock/internal/agent"
)

// loader is a proxy that checks what it loads.
type loader struct{ *proxy }

func (loader) ChecksOnLoad() {}

func newLoader(t *testing.T, p *proxy) *bench {
	b := newBench(t, p)
	b.options.Proxy = loader{p}
	return b
}

func TestAProxyThatChecksWhatItLoadsIsNotAskedTwice(t *testing.T) {
	b := newLoader(t, &proxy{}).start()
	defer b.stop()
	b.served(b.bundle("one", "etc/a"))
	b.served(b.bundle("two", "etc/a"))
	b.asked("start one", "reload two")
}

func TestABundleIsCheckedAndNotLoadedWhereOnlyThatIsAskedFor(t *testing.T) {
	b := newLoader(t, &proxy{}).start()
	defer b.stop()
	b.served(b.bundle("one", "etc/a"))
	if err := b.Check(context.Background(), b.bundle("two", "etc/a")); err != nil {
		t.Error(err)
	}
	b.holds("etc/a", "one")
	b.asked("start one", "check")
}

func TestABundleThatIsRefusedWhenItIsLoadedLeavesNothingBehind(t *testing.T) {
	b := newLoader(t, &proxy{reload: func(string) error { return &agent.Refused{Reason: "nonsense"} }}).start()
	defer b.stop()
	b.served(b.bundle("one", "etc/a", "etc/b"))
	bad := b.bundle("two", "etc/a", "etc/c", "keys/k")
	bad.Files[2].Sensitive, bad.Files[2].Mode = true, 0o600
	if reason := b.refused(bad); reason != "nonsense" {
		t.Errorf("refused with %q", reason)
	}
	for name, want := range map[string]string{"etc/a": "one", "etc/b": "one", "etc/c": "", "keys/k": ""} {
		b.holds(name, want)
	}
	b.asked("start one", "reload two")
}

func TestAfterTroubleABundleIsCheckedBeforeItIsLoadedUntilOneIsServed(t *testing.T) {
	p := &proxy{reload: func(token string) error {
		if token == "bad" {
			return errors.New("the proxy does not answer")
		}
		return nil
	}}
	b := newLoader(t, p)
	p.check = func(root string) error {
		data, err := os.ReadFile(root + b.path("etc/a"))
		if err == nil && string(data) == "bad" {
			err = &agent.Refused{Reason: "it would not answer"}
		}
		return err
	}
	b.start()
	defer b.stop()
	bad := b.bundle("bad", "etc/a")
	b.served(b.bundle("one", "etc/a"))
	b.failed(bad)
	b.holds("etc/a", "one")
	b.refused(bad)
	for _, token := range []string{"two", "three"} {
		b.served(b.bundle(token, "etc/a"))
	}
	b.asked("start one", "reload bad", "reload one", "check", "check", "reload two", "reload three")
}
