package translation

import (
	"encoding/json"
	"encoding/pem"
	"flag"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render/nginx"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each golden file has a Swarm (swarm; parseWorld says how it is written), the
// keys of the operator (config.json) and what must come out of them: the table,
// the problems, and of nginx.conf the part that depends on the table.
func TestLabelsBecomeTheseTablesProblemsAndFiles(t *testing.T) {
	goldens, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, golden := range goldens {
		t.Run(strings.TrimSuffix(filepath.Base(golden), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			inputs, want := split(archive.Files)
			got := translateFiles(t, inputs)
			t.Run("as expected", func(t *testing.T) { compare(t, golden, archive.Comment, inputs, want, got) })
			t.Run("accepted by nginx", func(t *testing.T) { acceptedByNginx(t, got) })
		})
	}
}

func split(files []txtar.File) (inputs, outputs []txtar.File) {
	for _, f := range files {
		if f.Name == "swarm" || f.Name == "config.json" {
			inputs = append(inputs, f)
		} else {
			outputs = append(outputs, f)
		}
	}
	return inputs, outputs
}

func translateFiles(t *testing.T, inputs []txtar.File) outcome {
	t.Helper()
	var w world
	var config map[string]any
	for _, f := range inputs {
		if f.Name == "swarm" {
			w = parseWorld(t, string(f.Data))
		} else if err := json.Unmarshal(f.Data, &config); err != nil {
			t.Fatal(err)
		}
	}
	return translate(t, w.swarm, w.proxies, config)
}

func compare(t *testing.T, golden string, comment []byte, inputs, want []txtar.File, got outcome) {
	t.Helper()
	outputs := []txtar.File{
		{Name: "table.json", Data: got.tableJSON(t)},
		{Name: "problems", Data: got.problemLines()},
		{Name: "nginx.conf", Data: got.variable(t)},
	}
	if *update {
		all := append(append([]txtar.File{}, inputs...), outputs...)
		if err := os.WriteFile(golden, txtar.Format(&txtar.Archive{Comment: comment, Files: all}), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text := func(files []txtar.File) string { return string(txtar.Format(&txtar.Archive{Files: files})) }
	if diff := cmp.Diff(text(want), text(outputs)); diff != "" {
		t.Errorf("%s (run with -update to accept; -want +got):\n%s", golden, diff)
	}
}

// acceptedByNginx moves the places that nginx reads and writes below the
// test's own folder.
func acceptedByNginx(t *testing.T, o outcome) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range o.keys {
		// The content of a golden is no key; any that is one will do.
		chain, key := fixture.NewAuthority(t).Issue(t, []string{"any.test"})
		if err := os.WriteFile(filepath.Join(dir, "tls", filepath.Base(f.Path)), append(chain, key...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fixture.NginxAccepts(t, o.conf, nil, dir, map[string]string{
		nginx.TempDir: dir, path.Dir(nginx.StatusSocket) + "/": dir + "/", "/var/run/proxy.pid": dir + "/pid",
		"AUTHORITIES": authorities(t, dir),
	})
}

func authorities(t *testing.T, dir string) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	path := filepath.Join(dir, "authorities.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
