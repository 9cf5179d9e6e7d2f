package page_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/test/page"
)

const sample = "# Title\n\nFor readers:\n\n```\nrm -rf /\n```\n\n## First\n\n```sh run\necho NAME > made\n```\n\n" +
	"```toml file=a.toml\nx = 1\n```\n\n## Second\n\n```sh until\necho >> tries; wc -l < tries; [ \"$(wc -l < tries)\" = 3 ]\n```\n\nIt says:\n\n```text output\n3…\n```\n"

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sample.md")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAPageIsItsMarkedBlocksBelowTheirHeadings(t *testing.T) {
	got, err := page.Read(write(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	want := &page.Page{Name: "sample.md", Sections: []page.Section{
		{Title: "First", Steps: []page.Step{
			{Line: 12, Text: "echo NAME > made\n"},
			{Line: 16, File: "a.toml", Text: "x = 1\n"},
		}},
		{Title: "Second", Steps: []page.Step{
			{Line: 22, Repeat: true, Output: "3…\n", Text: "echo >> tries; wc -l < tries; [ \"$(wc -l < tries)\" = 3 ]\n"},
		}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABlockThatCannotBeRunIsNamedByItsLine(t *testing.T) {
	for name, block := range map[string]string{
		"misspelt":             "```sh runn\ntrue\n```\n",
		"output of nothing":    "```text output\nx\n```\n",
		"a file somewhere":     "```toml file=../x\na = 1\n```\n",
		"another shell's":      "```python run\npass\n```\n",
		"a second output":      "```sh run\ntrue\n```\n```text output\nx\n```\n```text output\ny\n```\n",
		"output after heading": "```sh run\ntrue\n```\n## Next\n```text output\nx\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := page.Read(write(t, block)); err == nil || !strings.Contains(err.Error(), "line ") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if _, err := page.Read(write(t, "# Nothing\n")); err == nil {
		t.Error("a page with nothing to run passes for one")
	}
}

func shell(t *testing.T) page.Shell {
	return page.Shell{
		Folder: t.TempDir(), Env: os.Environ(),
		Replace: func(text string) (string, error) { return strings.ReplaceAll(text, "NAME", "lb-00"), nil },
	}
}

func TestAShellTypesWhatThePageSays(t *testing.T) {
	p, err := page.Read(write(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	s := shell(t)
	for _, section := range p.Sections {
		for _, step := range section.Steps {
			if err := s.Run(t.Context(), step); err != nil {
				t.Fatal(err)
			}
		}
	}
	for file, want := range map[string]string{"made": "lb-00\n", "a.toml": "x = 1\n", "tries": "\n\n\n"} {
		if got, err := os.ReadFile(filepath.Join(s.Folder, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", file, got, err, want)
		}
	}
}

func TestACommandThatFailsOrPrintsSomethingElseIsAnError(t *testing.T) {
	for name, step := range map[string]page.Step{
		"it fails":             {Line: 7, Text: "false\ntrue\n"},
		"it prints other text": {Line: 7, Text: "echo b a\n", Output: "a b\n"},
		"in another order":     {Line: 7, Text: "echo a; echo b\n", Output: "b\na\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := shell(t).Run(t.Context(), step); err == nil || !strings.HasPrefix(err.Error(), "line 7: ") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestWhatIsPrintedMayHaveMoreLinesThanThePageShows(t *testing.T) {
	step := page.Step{Text: "printf 'HTTP/1.1 200 OK\\r\\nDate: now\\r\\nx-id: 12\\r\\n\\r\\nbody'\n", Output: "HTTP/1.1 200 OK\nx-id: …\n\nbody\n"}
	if err := shell(t).Run(t.Context(), step); err != nil {
		t.Error(err)
	}
}
