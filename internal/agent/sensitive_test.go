package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/render"
)

// withKey is a bundle with a configuration and one key, which is what it says.
func (b *bench) withKey(token, key string) render.Bundle {
	bundle := b.bundle(token, "etc/main")
	bundle.Files = append(bundle.Files, render.File{Path: b.path("keys/" + key), Mode: 0o400, Content: render.NewContent([]byte(key)), Sensitive: true})
	return bundle
}

func TestKeysStandInTheirFolderFromTheCheckOnAndNowhereElse(t *testing.T) {
	b := newBench(t, &proxy{})
	b.proxy.check = func(root string) error {
		b.holds("keys/one", "one")
		if _, err := os.Stat(filepath.Join(root, b.path("keys/one"))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a key was staged for the check: %v", err)
		}
		return nil
	}
	b.start()
	b.served(b.withKey("first", "one"))
	for path, want := range map[string]os.FileMode{"keys": 0o700, "keys/one": 0o400} {
		if info, err := os.Stat(b.path(path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, want %v: %v", path, info.Mode().Perm(), want, err)
		}
	}
	b.stop()
	b.asked("check", "start first", "quit")
}

func TestTheKeysOfTheBundleBeforeStayUntilTheNextOneIsServed(t *testing.T) {
	b := newBench(t, &proxy{})
	b.proxy.reload = func(string) error {
		b.holds("keys/one", "one")
		b.holds("keys/two", "two")
		return nil
	}
	b.start()
	b.served(b.withKey("first", "one"))
	b.served(b.withKey("second", "two"))
	b.holds("keys/one", "")
	b.holds("keys/two", "two")
	b.stop()
}

func TestTheKeysOfABundleThatIsNotServedAreRemoved(t *testing.T) {
	no := &agent.Refused{Reason: "no"}
	for name, p := range map[string]*proxy{
		"refused by the check": {check: func(root string) error { return refuseSecond(root, no) }},
		"refused by a reload":  {reload: func(string) error { return no }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, p).start()
			b.served(b.withKey("first", "one"))
			b.refused(b.withKey("second", "two"))
			b.holds("keys/one", "one")
			b.holds("keys/two", "")
			b.stop()
		})
	}
}

// refuseSecond refuses the bundle whose token is "second".
func refuseSecond(root string, no error) error {
	var refused error
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if string(content) == "second" {
			refused = no
		}
		return err
	})
	return errors.Join(err, refused)
}

func TestKeysAreRefusedWhereTheyDoNotBelong(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	b.served(b.withKey("first", "one"))
	key := func(path string, mode os.FileMode, sensitive bool) render.Bundle {
		return render.Bundle{Files: []render.File{{Path: b.path(path), Mode: mode, Sensitive: sensitive, Content: render.NewContent([]byte("another"))}}}
	}
	for words, bundle := range map[string]render.Bundle{
		"belong in":                 key("etc/key", 0o400, true),
		"is not sensitive":          key("keys/page", 0o400, false),
		"lets others use it":        key("keys/two", 0o440, true),
		"another content needs":     key("keys/one", 0o400, true),
		"in none of the folders":    key("elsewhere", 0o400, false),
		"absolute path":             {Files: []render.File{{Path: "keys/two", Mode: 0o400, Sensitive: true}}},
		"as a file and as a folder": {Files: append(key("keys/two", 0o400, true).Files, key("keys/two/three", 0o400, true).Files...)},
	} {
		if reason := b.refused(bundle); !strings.Contains(reason, words) {
			t.Errorf("refused with %q, want %q in it", reason, words)
		}
	}
	b.holds("keys/one", "one")
	b.stop()
}

func TestNoKeyIsWrittenWhereItWouldComeToADisk(t *testing.T) {
	b := newBench(t, &proxy{})
	b.options.InMemory = func(folder string) (bool, error) {
		if folder != b.path("keys") {
			t.Errorf("asked about %s", folder)
		}
		return false, nil
	}
	b.start()
	b.served(b.bundle("plain", "etc/main"))
	reason := b.refused(b.withKey("first", "one"))
	if !strings.Contains(reason, "not in memory") || !strings.Contains(reason, "mount a tmpfs") {
		t.Errorf("refused with %q", reason)
	}
	b.holds("keys/one", "")
	b.holds("etc/main", "plain")
	b.stop()
	b.asked("check", "start plain", "quit")
}

func TestAFolderThatCannotBeLookedAtIsNoRefusal(t *testing.T) {
	b := newBench(t, &proxy{})
	b.options.InMemory = func(string) (bool, error) { return false, errors.New("input/output error") }
	b.start()
	b.failed(b.withKey("first", "one"))
	b.holds("keys/one", "")
	b.stop()
}

func TestAProxyStartsWithItsKeysThoughTheirMemoryIsNew(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	b.served(b.withKey("first", "one"))
	b.stop()
	if err := os.RemoveAll(b.path("keys")); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	b.proxy.start = func(string) error {
		b.holds("keys/one", "one")
		close(started)
		return nil
	}
	b.start()
	<-started
	b.stop()
}
