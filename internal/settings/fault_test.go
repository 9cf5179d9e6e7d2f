package settings_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	toml "github.com/pelletier/go-toml/v2"
	"golang.org/x/tools/txtar"

	"github.com/interlock-lb/interlock/internal/settings"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/configuration.md")

// golden runs every archive of testdata/folder: what show makes of its
// config.toml must be its second file.
func golden(t *testing.T, folder, second string, show func(*settings.Settings, error) string) {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in %s: %v", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := show(settings.Parse(archive.Files[0].Name, archive.Files[0].Data))
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: second, Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 || archive.Files[1].Name != second {
				t.Fatalf("%s has no file %s; run the tests with -update", file, second)
			}
			if d := cmp.Diff(string(archive.Files[1].Data), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFaultsSayWhatIsWrongAndWhatWouldBeRight(t *testing.T) {
	golden(t, "faults", "faults", func(_ *settings.Settings, err error) string {
		if err == nil {
			return ""
		}
		return err.Error() + "\n"
	})
}

func TestNoticesNameTheKeysWithoutEffect(t *testing.T) {
	golden(t, "notices", "notices", func(s *settings.Settings, err error) string {
		if err != nil {
			return "invalid: " + err.Error() + "\n"
		}
		return strings.Join(s.Notices(), "\n") + "\n"
	})
}

func TestNoMessageRepeatsAPassword(t *testing.T) {
	for _, text := range []string{
		"Config.AdminPass = [\"hunter2\"]\n",
		"Config.AdminPass = \"hunter2\\u0000\"\n",
		"Config.AdminPass = { a = \"hunter2\" }\n",
		"Config.AdminPass = \"hunter2\"\nConfig.adminpass = \"hunter2\"\n",
		"Config.AdminPass = hunter2\n",
	} {
		_, err := settings.Parse("config.toml", []byte(smallest+text))
		if err == nil {
			t.Errorf("%s was accepted", text)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %s", text, err)
		}
	}
	for _, url := range []string{"tcp://root:hunter2@10.0.0.5:2376", "ssh://root:hunter2@10.0.0.5", "tcp://root:hunter2@ bad"} {
		_, err := settings.Parse("config.toml", []byte("DockerURL = \""+url+"\"\n"+smallest))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAFileFullOfFaultsGivesAListThatCanBeRead(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "Nonsense%d = %d\n", i, i)
	}
	_, err := settings.Parse("config.toml", []byte(text.String()))
	var faults settings.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v", err)
	}
	if len(faults) != 101 || !strings.Contains(faults[100].Message, "more faults are not listed") {
		t.Errorf("%d faults, the last: %s", len(faults), faults[len(faults)-1])
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(walkthrough))
	f.Add([]byte(smallest))
	for _, folder := range []string{"faults", "notices"} {
		files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(archive.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := settings.Parse("config.toml", data)
		if err == nil {
			if s == nil || len(s.Extensions) == 0 {
				t.Fatal("valid, but without an extension")
			}
			if err := toml.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &map[string]any{}); err != nil {
				t.Errorf("valid, but not TOML: %v", err)
			}
			return
		}
		var faults settings.Faults
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("not faults: %v", err)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, fault := range faults {
			if fault.Line < 1 || fault.Line > lines || fault.Column < 1 || fault.Message == "" {
				t.Errorf("no position or no message: %#v", fault)
			}
			if strings.ContainsAny(fault.String(), "\n\x00") {
				t.Errorf("not one line: %q", fault)
			}
		}
	})
}
