package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/load"
)

// row is what came of one scenario with one kind of proxy.
type row struct {
	number int
	full   bool
	kind   string
	result load.Result
	bare   *bareNginx // measured beside; nil: it was not
}

// line is `sent · lost · misrouted · p99`.
func line(r load.Result) string {
	return fmt.Sprintf("%d · %d · %d · %s", r.SentInAll(), r.LostInAll(), r.Misrouted, r.P99.Round(time.Millisecond))
}

// The table's columns: a number, a name, and for each kind of proxy these.
const (
	named   = 2
	perKind = 5
)

var firstColumn = map[string]int{"native": named, "nginx": named + perKind}

// record writes a row's cells into the table of a page, which has a line for
// each scenario. Nothing else of the page changes.
func record(file string, r row) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		cells := strings.Split(strings.Trim(l, "|"), "|")
		if len(cells) != named+2*perKind || strings.TrimSpace(cells[0]) != strconv.Itoa(r.number) {
			continue
		}
		for j, cell := range r.cells() {
			cells[firstColumn[r.kind]+j] = " " + cell + " "
		}
		lines[i] = "|" + strings.Join(cells, "|") + "|"
		return os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644)
	}
	return fmt.Errorf("%s has no line for scenario %d", file, r.number)
}

func (r row) cells() [perKind]string {
	form := "short"
	if r.full {
		form = "full"
	}
	lost := strconv.Itoa(r.result.LostInAll())
	if r.bare != nil {
		lost += fmt.Sprintf(" in %d reloads (bare nginx: %d in %d)", r.bare.ours, r.bare.lost, r.bare.reloads)
	}
	return [perKind]string{form, strconv.Itoa(r.result.SentInAll()), lost, strconv.Itoa(r.result.Misrouted), r.result.P99.Round(time.Millisecond).String()}
}

func TestARunChangesItsOwnCellsOfTheTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	check(t, os.WriteFile(file, []byte("# Page\n\n| | what | a | b | c | d | e | f | g | h | i | j |\n"+
		"| 1 | one | – | – | – | – | – | – | – | – | – | – |\n| 2 | two | – | – | – | – | – | – | – | – | – | – |\n\nend\n"), 0o600))
	get := load.Kinds()[0]
	result := load.Result{Sent: map[load.Kind]int{get: 9}, Lost: map[load.Kind]int{get: 1}, P99: 12 * time.Millisecond}
	check(t, record(file, row{number: 2, kind: "native", full: true, result: result}))
	check(t, record(file, row{number: 2, kind: "nginx", result: result, bare: &bareNginx{reloads: 3, lost: 4, ours: 2}}))
	got, err := os.ReadFile(file)
	check(t, err)
	want := "| 2 | two | full | 9 | 1 | 0 | 12ms | short | 9 | 1 in 2 reloads (bare nginx: 4 in 3) | 0 | 12ms |\n\nend\n"
	if !strings.HasSuffix(string(got), "– |\n"+want) || !strings.HasPrefix(string(got), "# Page\n\n") {
		t.Errorf("got\n%swant at its end\n%s", got, want)
	}
	if err := record(file, row{number: 3, kind: "native"}); err == nil || !strings.Contains(err.Error(), "scenario 3") {
		t.Errorf("a scenario without a line: %v", err)
	}
}
