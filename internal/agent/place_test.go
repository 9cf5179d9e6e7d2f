package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/render"
)

// three is a bundle of three files, of which one says what it is told.
func (b *bench) three(word string) render.Bundle {
	bundle := b.bundle("same", "etc/a", "etc/b", "etc/c")
	bundle.Token = word
	bundle.Files[1].Content = render.NewContent([]byte(word))
	return bundle
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	reject := false
	b := newBench(t, &proxy{reload: func(token string) error {
		if reject {
			return &agent.Refused{Reason: "no"}
		}
		return nil
	}}).start()
	defer b.stop()
	b.served(b.three("one"))
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	age := func() {
		for _, name := range []string{"etc/a", "etc/b", "etc/c"} {
			if err := os.Chtimes(b.path(name), long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	written := func() (names []string) {
		for _, name := range []string{"etc/a", "etc/b", "etc/c"} {
			info, err := os.Stat(b.path(name))
			if err != nil {
				t.Fatal(err)
			}
			if !info.ModTime().Equal(long) {
				names = append(names, name)
			}
		}
		return names
	}
	age()
	b.served(b.three("two"))
	if got := written(); !slices.Equal(got, []string{"etc/b"}) {
		t.Errorf("written: %v", got)
	}
	age()
	reject = true
	b.refused(b.three("three"))
	b.holds("etc/b", "two")
	if got := written(); !slices.Equal(got, []string{"etc/b"}) {
		t.Errorf("put back: %v", got)
	}
	reject = false
	b.served(b.three("four"))
	b.holds("etc/b", "four")
}

func TestTheProxyIsAskedAboutAllFilesAsTheyAreToBe(t *testing.T) {
	found := make(map[string]string)
	p := &proxy{}
	b := newBench(t, p)
	p.check = func(root string) error {
		clear(found)
		for _, name := range []string{"etc/a", "etc/b", "etc/c", "etc/d"} {
			data, err := os.ReadFile(filepath.Join(root, b.path(name)))
			if err == nil {
				found[name] = string(data)
			} else if !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	b.start()
	defer b.stop()
	b.served(b.three("one"))
	next := b.three("two")
	next.Files[2].Path = b.path("etc/d")
	b.served(next)
	if len(found) != 3 || found["etc/a"] != "same" || found["etc/b"] != "two" || found["etc/d"] != "same" {
		t.Errorf("the proxy was asked about %v", found)
	}
	b.holds("etc/c", "")
}

func TestWhatSomebodyHasRemovedIsWrittenWithTheNextBundle(t *testing.T) {
	p := &proxy{}
	b := newBench(t, p)
	p.check = func(root string) error {
		for _, name := range []string{"etc/a", "etc/b", "etc/c"} {
			if data, err := os.ReadFile(filepath.Join(root, b.path(name))); err != nil || len(data) == 0 {
				return &agent.Refused{Reason: name + " is not there"}
			}
		}
		return nil
	}
	b.start()
	defer b.stop()
	b.served(b.three("one"))
	for name, spoil := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		if err := spoil(b.path("etc/a")); err != nil {
			t.Fatal(err)
		}
		b.served(b.three(name))
		b.holds("etc/a", "same")
	}
}

func TestTheAgentHasTheBundleThatItsProxyServes(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	one, two := b.three("one"), b.three("two")
	if _, ok := b.Served(""); ok {
		t.Error("it has one before any was served")
	}
	b.served(one)
	b.served(two)
	if got, ok := b.Served(two.Version()); !ok || got.Version() != two.Version() {
		t.Errorf("got %v, %t", got, ok)
	}
	if _, ok := b.Served(one.Version()); ok {
		t.Error("it has the one before")
	}
	b.stop()
	b.start()
	defer b.stop()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, ok := b.Served(two.Version()); ok {
			if got.Version() != two.Version() {
				t.Errorf("after a restart it has %v", got)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("after a restart it has none")
		}
	}
}
