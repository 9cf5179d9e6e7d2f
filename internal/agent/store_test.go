package agent

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

func sameKey() ([]byte, error) { return bytes.Repeat([]byte{7}, 32), nil }

func savedBundle(t *testing.T) (s *store, saved *served, path string) {
	t.Helper()
	dir := t.TempDir()
	s, err := openStore(dir, sameKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	b := render.Bundle{Token: "t", Files: []render.File{
		{Path: "/etc/a", Mode: 0o644, Content: render.NewContent([]byte("one\x00\xff"))}, {Path: "/etc/b", Mode: 0o600, Content: render.NewContent([]byte("the private key")), Sensitive: true},
	}}
	saved = &served{b, b.Version(), "table"}
	if err := s.save(nil, saved); err != nil {
		t.Fatal(err)
	}
	return s, saved, filepath.Join(dir, lastGoodFile)
}

func TestALastGoodBundleComesBackAsItWas(t *testing.T) {
	s, saved, path := savedBundle(t)
	got, err := s.load(1 << 10)
	if err != nil || !reflect.DeepEqual(got, saved) {
		t.Errorf("got %+v, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the bundle: %v, %v", info.Mode(), err)
	}
}

func TestAnyDamageIsNoticed(t *testing.T) {
	s, _, path := savedBundle(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[i] ^= 1
		if got, err := s.decode(damaged); err == nil {
			t.Fatalf("byte %d changed, and read as %+v", i, got)
		}
		if _, err := s.decode(whole[:i]); err == nil {
			t.Fatalf("cut after %d bytes, and read", i)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.load(1 << 10); err == nil {
		t.Error("half a file was read")
	}
}

func TestNothingOfABundleCanBeReadOnTheVolume(t *testing.T) {
	_, saved, path := savedBundle(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range saved.bundle.Files {
		for _, form := range []string{string(file.Data()), base64.StdEncoding.EncodeToString(file.Data()), file.Path} {
			if bytes.Contains(whole, []byte(form)) {
				t.Errorf("%q is there in clear", form)
			}
		}
	}
}

func TestALastGoodBundleThatIsNotOursIsNamedForWhatItIs(t *testing.T) {
	s, saved, path := savedBundle(t)
	expect := func(words string) {
		t.Helper()
		if got, err := s.load(1 << 10); got != nil || err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, %v, want an error that says %q", got, err, words)
		}
	}
	s.vault.key = func() ([]byte, error) { return bytes.Repeat([]byte{8}, 32), nil }
	expect("under another identity")
	s.vault.key = func() ([]byte, error) { return nil, errors.New("no identity") }
	expect("no identity")
	if err := s.save(nil, saved); err == nil {
		t.Error("a bundle was saved without a key")
	}
	s.vault.key = sameKey
	if err := os.WriteFile(path, []byte("interlock-bundle 1 0123\n{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("another version of Interlock")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("damaged")
}

func TestOnlyTheAbandonedPartOfAWriteIsRemoved(t *testing.T) {
	dir := t.TempDir()
	names := []string{".last-good.new", ".last-good.OLD.new", ".last-good.UNDERWAY.new", "last-good", ".other.new"}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if long := time.Now().Add(-2 * abandonedAfter); !strings.Contains(name, "UNDERWAY") {
			if err := os.Chtimes(path, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := openStore(dir, sameKey)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for i, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != (i >= 2) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingSavedIsNotAnError(t *testing.T) {
	s, err := openStore(t.TempDir(), sameKey)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if got, err := s.load(1 << 10); got != nil || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}
