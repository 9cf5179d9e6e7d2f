package native_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	agentnative "github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/route"
)

func lastTable(t *testing.T, folder, cluster string) *agentnative.LastTable {
	t.Helper()
	return agentnative.NewLastTable(folder, cluster, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// keep runs it for as long as it takes to write tables down.
func keep(t *testing.T, l *agentnative.LastTable, tables ...*route.Table) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	for _, table := range tables {
		l.Keep(table)
	}
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTheLastTableComesBackAsItWas(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made when needed")
	if got, err := lastTable(t, folder, "").Load(); got != nil || err != nil {
		t.Errorf("before anything was kept: %+v, %v", got, err)
	}
	want := demo(t, "two")
	keep(t, lastTable(t, folder, ""), demo(t, "one"), want)
	got, err := lastTable(t, folder, "").Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Version(), got.Version()); diff != "" {
		t.Errorf("another table comes back: %s", diff)
	}
	if got, err := lastTable(t, folder, "another cluster").Load(); got != nil || err != nil {
		t.Errorf("for another cluster: %+v, %v", got, err)
	}
}

func TestADamagedLastTableIsNotServed(t *testing.T) {
	folder := t.TempDir()
	keep(t, lastTable(t, folder, ""), demo(t, "one"))
	file := filepath.Join(folder, "last-table")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		for _, content := range [][]byte{damaged, whole[:i]} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := lastTable(t, folder, "").Load(); err == nil || got != nil {
				t.Fatalf("with byte %d changed or missing: %+v, %v", i, got, err)
			}
		}
	}
}

func TestAFolderThatCannotBeWrittenToIsNamedOnce(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	l := agentnative.NewLastTable(filepath.Join(occupied, "state"), "", slog.New(slog.NewTextHandler(&said, nil)))
	keep(t, l, demo(t, "one"))
	keep(t, l, demo(t, "two"))
	if n := strings.Count(said.String(), "--state"); n != 1 {
		t.Errorf("it is said %d times: %s", n, said.String())
	}
}
