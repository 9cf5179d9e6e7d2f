package nginx

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testServerInfo stands in for a build's own.
const testServerInfo = "interlock/0.1.0 (abcdef0) linux/amd64"

// Each golden file has a table (table.json), the keys of the operator
// (config.json), a file agentless where the proxy is a stock image, and what must
// come out of them (nginx.conf).
func TestTablesBecomeTheseFilesAndNginxAcceptsThem(t *testing.T) {
	goldens, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range goldens {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			got := renderGolden(t, path)
			t.Run("as expected", func(t *testing.T) { compareGolden(t, path, got) })
			t.Run("accepted by nginx", func(t *testing.T) { acceptedByNginx(t, got) })
		})
	}
}

func renderGolden(t *testing.T, path string) []byte {
	t.Helper()
	table, p := readGolden(t, path)
	r := Renderer{ServerInfo: testServerInfo}
	bundle, err := r.Render(table, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.Files) != 1 || bundle.Files[0].Path != p.ConfigPath {
		t.Fatalf("want the one file %s, got %d files", p.ConfigPath, len(bundle.Files))
	}
	return bundle.Files[0].Data()
}

func readGolden(t *testing.T, path string) (*route.Table, render.Parameters) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var table route.Table
	p := render.Parameters{Port: 18080, ConfigPath: "/etc/nginx/nginx.conf"}
	for _, f := range archive.Files {
		switch f.Name {
		case "table.json":
			err = json.Unmarshal(f.Data, &table)
		case "config.json":
			err = json.Unmarshal(f.Data, &p.Config)
		case "agentless":
			p.Agentless = true
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	return &table, p
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if f.Name == "nginx.conf" {
			want = f.Data
			continue
		}
		kept = append(kept, f)
	}
	if *update {
		archive.Files = append(kept, txtar.File{Name: "nginx.conf", Data: got})
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (run with -update to accept; -want +got):\n%s", path, diff)
	}
}

// acceptedByNginx moves the places that nginx writes to below the test's folder.
func acceptedByNginx(t *testing.T, conf []byte) {
	t.Helper()
	allAcceptedByNginx(t, conf, nil)
}

func allAcceptedByNginx(t *testing.T, conf []byte, parts map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	fixture.NginxAccepts(t, conf, parts, dir, map[string]string{
		TempDir: dir, StatusSocket: dir + "/status.sock", "/var/run/proxy.pid": dir + "/pid",
	})
}
