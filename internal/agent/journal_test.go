package agent

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
)

// shelf is a bundle of a hundred files of 1 kB, of which some say what they are told.
func shelf(words map[int]string) *served {
	b := render.Bundle{Token: "t"}
	for i := range 100 {
		word := words[i]
		b.Files = append(b.Files, render.File{Path: fmt.Sprintf("/etc/%03d", i), Mode: 0o644, Content: render.NewContent([]byte(strings.Repeat("x", 1000) + word))})
	}
	return &served{b, b.Version(), "table of " + b.Version()}
}

func newStore(t *testing.T, dir string) *store {
	t.Helper()
	s, err := openStore(dir, sameKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func mustSave(t *testing.T, s *store, before, next *served) {
	t.Helper()
	if err := s.save(before, next); err != nil {
		t.Fatal(err)
	}
}

// mustHold fails unless a store that is opened now has the bundle.
func mustHold(t *testing.T, dir string, want *served) {
	t.Helper()
	got, err := newStore(t, dir).load(1 << 20)
	if err != nil || got == nil || got.version != want.version || got.bundle.Version() != want.version || got.tableVersion != want.tableVersion {
		t.Fatalf("got %v, %v", got, err)
	}
}

func lastGoodSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, lastGoodFile))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestWhatIsSavedOfAChangeIsAsSmallAsTheChange(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir)
	before, next := shelf(nil), shelf(map[int]string{7: "other"})
	mustSave(t, s, nil, before)
	whole := lastGoodSize(t, dir)
	mustSave(t, s, before, next)
	if grown := lastGoodSize(t, dir) - whole; grown <= 0 || grown > 2000 {
		t.Errorf("%d bytes were added to %d", grown, whole)
	}
	mustHold(t, dir, next)
}

func TestWhateverIsSavedComesBack(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	dir := t.TempDir()
	s := newStore(t, dir)
	words := make(map[int]string)
	var before *served
	greatest := int64(0)
	for step := range maxRecords + 40 {
		for range random.IntN(4) {
			words[random.IntN(100)] = strings.Repeat("y", random.IntN(3000))
		}
		next := shelf(words)
		mustSave(t, s, before, next)
		greatest = max(greatest, lastGoodSize(t, dir))
		if step%40 == 0 {
			mustHold(t, dir, next)
		}
		if before = next; random.IntN(50) == 0 {
			s = newStore(t, dir) // the agent is started anew
			if _, err := s.load(1 << 20); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustHold(t, dir, before)
	if limit := int64(2*400_000 + spareRecords); greatest > limit {
		t.Errorf("the file grew to %d bytes", greatest)
	}
}

func TestAgentsThatShareAFolderAddToOneFile(t *testing.T) {
	dir := t.TempDir()
	one, two := newStore(t, dir), newStore(t, dir)
	a, b, c, d := shelf(nil), shelf(map[int]string{1: "b"}), shelf(map[int]string{1: "c"}), shelf(map[int]string{1: "d"})
	mustSave(t, one, nil, a)
	whole := lastGoodSize(t, dir)
	mustSave(t, one, a, b)
	grown := lastGoodSize(t, dir)
	mustSave(t, two, a, b) // it is there
	if lastGoodSize(t, dir) != grown {
		t.Error("what another agent has saved was saved again")
	}
	mustSave(t, one, b, c)
	mustSave(t, two, b, d) // it has skipped one
	mustHold(t, dir, d)
	mustSave(t, one, c, a) // an older one again
	mustHold(t, dir, a)
	if size := lastGoodSize(t, dir); size > whole+10_000 {
		t.Errorf("the file has %d bytes, of which %d are whole bundles", size, whole)
	}
}

func TestAnAgentThatHangsKeepsNobodyFromStarting(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir)
	a := shelf(nil)
	mustSave(t, s, nil, a)
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	mustHold(t, dir, a)
	if err := s.save(a, shelf(map[int]string{1: "b"})); err == nil {
		t.Error("two wrote at once")
	}
}

func TestDamageToAChangeLeavesTheBundleBefore(t *testing.T) {
	for name, spoil := range map[string]func(data []byte, whole int) []byte{
		"the end is missing":     func(data []byte, _ int) []byte { return data[:len(data)-1] },
		"half a line is there":   func(data []byte, whole int) []byte { return data[:whole+20] },
		"the line is another":    func(data []byte, whole int) []byte { data[whole] ^= 1; return data },
		"the content is another": func(data []byte, _ int) []byte { data[len(data)-1] ^= 1; return data },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, lastGoodFile)
			s := newStore(t, dir)
			before, next := shelf(nil), shelf(map[int]string{7: "other"})
			mustSave(t, s, nil, before)
			whole := int(lastGoodSize(t, dir))
			mustSave(t, s, before, next)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, spoil(data, whole), 0o600); err != nil {
				t.Fatal(err)
			}
			s = newStore(t, dir)
			got, err := s.load(1 << 20)
			if err == nil || got == nil || got.version != before.version {
				t.Fatalf("got %v, %v", got, err)
			}
			mustSave(t, s, got, next)
			mustHold(t, dir, next)
		})
	}
}

func TestOnlyBundlesThatLaterRecordsChangeAreKeptWhileReading(t *testing.T) {
	records := []record{{version: "0"}}
	for i := range maxRecords - 1 {
		base := i
		if i%5 == 4 {
			base -= 3 // of another agent, which had skipped some
		}
		records = append(records, record{base: fmt.Sprint(base), version: fmt.Sprint(i + 1)})
	}
	records = append(records, record{base: "127", version: "127"}, record{base: "127", version: "0"}, record{base: "0", version: "1"})
	known, most := newBases(records), 0
	for i := range records {
		if base := known.of(&records[i]); base == nil != (i == 0) || i > 0 && base.Token != records[i].base {
			t.Fatalf("record %d: the base is %v", i, base)
		}
		known.passed(i, &render.Bundle{Token: records[i].version})
		most = max(most, len(known.bundles))
	}
	if most > 4 || len(known.bundles) > 0 {
		t.Errorf("%d bundles were kept, and %d to the end", most, len(known.bundles))
	}
}

func TestNoChangeIsAddedToWhatAnotherKeyHasSealed(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir)
	before, next := shelf(nil), shelf(map[int]string{7: "other"})
	s.vault.key = func() ([]byte, error) { return make([]byte, 32), nil }
	mustSave(t, s, nil, before)
	s.vault.key = sameKey
	mustSave(t, s, before, next)
	mustHold(t, dir, next)
}

func TestABundleThatAFormerReleaseSavedComesBack(t *testing.T) {
	dir := t.TempDir()
	s, saved := newStore(t, dir), shelf(nil)
	former := formerBundle{TableVersion: saved.tableVersion, Token: saved.bundle.Token}
	for _, f := range saved.bundle.Files {
		former.Files = append(former.Files, formerFile{f.Path, f.Mode, f.Data(), f.Sensitive})
	}
	content, err := json.Marshal(former)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.vault.seal(content, formerHeader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, lastGoodFile), append([]byte(formerHeader), sealed...), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.load(1 << 20)
	if err != nil || !reflect.DeepEqual(got, saved) {
		t.Fatalf("got %v, %v", got, err)
	}
	next := shelf(map[int]string{7: "other"})
	mustSave(t, s, got, next)
	mustHold(t, dir, next)
}
