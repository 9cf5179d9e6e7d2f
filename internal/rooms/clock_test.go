package rooms

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

func TestPurePackagesDoNotReadTheClock(t *testing.T) {
	for _, p := range listModule(t) {
		if name, inside := room(p.ImportPath); inside && rooms[name] == pure {
			for _, call := range clockCalls(t, p) {
				t.Errorf("%s: this layer is pure: take the time as an argument", call)
			}
		}
	}
}

func TestReadingTheClockIsFound(t *testing.T) {
	folder := t.TempDir()
	source := "package late\n\nimport \"time\"\n\nvar limit = time.Second\nvar start = time.Now()\n"
	if err := os.WriteFile(filepath.Join(folder, "late.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := clockCalls(t, goPackage{Dir: folder, GoFiles: []string{"late.go"}})
	if len(calls) != 1 || calls[0].Line != 6 {
		t.Errorf("found %v, want the one call in line 6", calls)
	}
}

// clock are the functions of package time that read or wait for the clock.
var clock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true,
	"AfterFunc": true, "Tick": true, "NewTimer": true, "NewTicker": true,
}

// clockCalls lists where a package's code uses the clock.
func clockCalls(t *testing.T, p goPackage) []token.Position {
	t.Helper()
	files := token.NewFileSet()
	var found []token.Position
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok && isClock(selector) {
				found = append(found, files.Position(selector.Pos()))
			}
			return true
		})
	}
	return found
}

func isClock(selector *ast.SelectorExpr) bool {
	of, ok := selector.X.(*ast.Ident)
	return ok && of.Name == "time" && clock[selector.Sel.Name]
}
