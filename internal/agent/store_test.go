package agent

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

func savedBundle(t *testing.T) (s *store, saved *served, path string) {
	t.Helper()
	dir := t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	b := render.Bundle{Token: "t", Files: []render.File{
		{Path: "/etc/a", Mode: 0o644, Data: []byte("one\x00\xff")}, {Path: "/etc/b", Mode: 0o600, Data: []byte("two")},
	}}
	saved = &served{b, b.Version(), "table"}
	if err := s.save(saved); err != nil {
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
		if got, err := decode(damaged); err == nil {
			t.Fatalf("byte %d changed, and read as %+v", i, got)
		}
		if _, err := decode(whole[:i]); err == nil {
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
	s, err := openStore(dir)
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
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if got, err := s.load(1 << 10); got != nil || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAReasonIsCutBetweenCharacters(t *testing.T) {
	got := shorten(strings.Repeat("ü", maxReason))
	if len(got) > maxReason+40 || !strings.HasPrefix(got, "üü") || strings.Contains(got, "\uFFFD") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-40:])
	}
	if got := shorten("a\xffb"); got != "a\uFFFDb" {
		t.Errorf("got %q", got)
	}
}
