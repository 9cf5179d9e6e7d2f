package material_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/material"
)

func TestASecretIsReadByItsName(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shop.cert"), []byte("content"), 0o400); err != nil {
		t.Fatal(err)
	}
	data, err := material.Folder(dir).Read("shop.cert")
	if err != nil || string(data) != "content" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestASecretThatIsNotThereYetIsToldFromOneThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{dir, filepath.Join(dir, "nothing")} {
		if _, err := material.Folder(folder).Read("shop.cert"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", folder, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "long"), []byte(strings.Repeat("x", 600<<10)), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"long", "folder"} {
		if _, err := material.Folder(dir).Read(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestANameNeverLeavesTheFolder(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "key"), []byte("not yours"), 0o400); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(outside, "secrets")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../key", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../key", outside + "/key", "x/../../key", "link", "a\x00b"} {
		if data, err := material.Folder(dir).Read(name); err == nil {
			t.Errorf("%q gave %q", name, data)
		}
	}
}
