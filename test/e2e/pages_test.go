package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/test/page"
)

// standIns are the lab's nodes for those of the pages that it does not have.
var standIns = map[string]string{"lb-02": "worker-00", "lb-03": "worker-01"}

// walk is a page of docs/ that is being followed, section by section.
type walk struct {
	page   *page.Page
	folder string
	bin    string // what the commands find beside the system's programs
	next   int    // the section to come
}

// follow opens a page. When the test ends, every section must have been run.
func follow(t *testing.T, name string) *walk {
	t.Helper()
	p, err := page.Read(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{page: p, folder: t.TempDir(), bin: t.TempDir()}
	t.Cleanup(func() {
		if !t.Failed() && !t.Skipped() && w.next < len(p.Sections) {
			t.Errorf("%s: nobody has run %q", name, p.Sections[w.next].Title)
		}
	})
	return w
}

// section types the next section's commands, which must be the one of this title.
func (w *walk) section(t *testing.T, title string) {
	t.Helper()
	if w.next == len(w.page.Sections) || w.page.Sections[w.next].Title != title {
		t.Fatalf("the next section of %s is not %q", w.page.Name, title)
	}
	section := w.page.Sections[w.next]
	w.next++
	manager, err := site.Manager()
	if err != nil {
		t.Fatal(err)
	}
	shell := page.Shell{
		Folder: w.folder, Replace: inTheLab,
		Env: append(manager.DockerEnv(), "PATH="+w.bin+":"+os.Getenv("PATH"), "HOME="+w.folder),
	}
	for _, step := range section.Steps {
		if err := shell.Run(t.Context(), step); err != nil {
			t.Fatalf("docs/%s, %s, %v", w.page.Name, title, err)
		}
	}
}

// inTheLab puts the lab's names where a page has its reader's: the images'
// version, the nodes, LB-00 for the address of lb-00 and so on, and LB-NODE for
// that of a node which runs a proxy.
func inTheLab(text string) (string, error) {
	pairs := []string{":VERSION", ":" + version}
	if strings.Contains(text, "LB-NODE") {
		address, err := proxyAddress()
		if err != nil {
			return "", err
		}
		pairs = append(pairs, "LB-NODE", address)
	}
	names := map[string]string{}
	for _, n := range cluster.Nodes() {
		names[n.Name()] = n.Name()
	}
	for absent, present := range standIns {
		names[absent] = present
	}
	for name, node := range names {
		pairs = append(pairs, name, node, strings.ToUpper(name), cluster.Node(node).Address())
	}
	return strings.NewReplacer(pairs...).Replace(text), nil
}

// proxyAddress is the address of the first node that runs a proxy, or is about to.
func proxyAddress() (string, error) {
	out, err := site.Docker(context.Background(), "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", "interlock-proxy")
	if err != nil {
		return "", err
	}
	nodes := strings.Fields(out)
	if len(nodes) == 0 {
		return "", fmt.Errorf("no proxy is on any node")
	}
	return cluster.Node(slices.Min(nodes)).Address(), nil
}
