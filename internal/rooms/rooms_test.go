// Package rooms checks that the packages of this module import one another only
// as the architecture allows: downwards, and never sideways between adapters.
// It has nothing but tests. The linter knows the coarse half of the rule too
// (.golangci.yml, depguard); this one knows every package by name.
package rooms

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/interlock-lb/interlock"

// layer is a floor of the building; code may import from lower floors only.
type layer int

const (
	pure     layer = iota // L0: no context, logger, clock, randomness or I/O
	adapter               // L1: one outside thing each
	loop                  // L2: what runs all the time, and what installs it
	root                  // L3: gRPC, dashboard and commands, where everything is put together
	testOnly              // imported by tests alone
)

// rooms says where every package under internal/ belongs. A new package gets its
// line here, and its description in docs/architecture.md.
var rooms = map[string]layer{
	"admission":             pure,
	"label":                 pure,
	"logformat":             pure,
	"plan":                  pure,
	"problem":               pure,
	"proxy/http1":           pure,
	"quarantine":            pure,
	"render":                pure,
	"render/haproxy":        pure,
	"render/native":         pure,
	"render/nginx":          pure,
	"render/nginx/template": pure,
	"route":                 pure,
	"snapshot":              pure,
	"wire":                  pure,

	// Messages alone, generated.
	"swarmkit/swarmpb": pure,

	"agent":         adapter,
	"agent/haproxy": adapter,
	"agent/native":  adapter,
	"agent/nginx":   adapter,
	"delivery":      adapter,
	"docker":        adapter,
	"material":      adapter,
	"pki":           adapter,
	"probe":         adapter,
	"proxy":         adapter,
	"settings":      adapter,
	"swarmkit":      adapter,

	"core":      loop,
	"extension": loop,
	"install":   loop,

	"cli":     root,
	"metrics": root,
	"rpc":     root,
	"web":     root,

	"behaviour":             testOnly,
	"fixture":               testOnly,
	"fixture/controlsocket": testOnly,
	"rooms":                 testOnly,
	"translation":           testOnly,
}

// impure are packages that bring I/O, randomness, time limits or logging;
// impureModules do so with all that is below them.
var (
	impure = []string{
		"context", "log", "log/slog", "os", "os/exec", "os/signal", "os/user", "syscall",
		"net", "net/http", "net/rpc", "crypto/rand", "math/rand", "math/rand/v2",
	}
	impureModules = []string{"golang.org/x/sys", "golang.org/x/sync", "google.golang.org/grpc"}
)

// swarmOnly are the packages that may import moby's modules.
var swarmOnly = []string{"docker", "swarmkit"}

// runs are the adapters that an agent's kind runs in its own process, where others
// run a program.
var runs = map[string]bool{"agent/native proxy": true}

// goPackage is what `go list -json` tells of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// room is the package's path under internal/, and whether it has one.
func room(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module+"/internal/")
}

// violations lists what a package does against the rule, one sentence each.
func violations(p goPackage) []string {
	name, inside := room(p.ImportPath)
	if !inside {
		return outsideViolations(p)
	}
	from, known := rooms[name]
	if !known {
		return []string{fmt.Sprintf("internal/%s is in no layer: add it to the table in internal/rooms/rooms_test.go", name)}
	}
	var found []string
	for _, imported := range p.Imports {
		if fault := importFault(name, from, imported); fault != "" {
			found = append(found, fmt.Sprintf("internal/%s imports %s: %s", name, imported, fault))
		}
	}
	return found
}

// outsideViolations judges cmd, api, test and bench.
func outsideViolations(p goPackage) []string {
	place, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, module+"/"), "/")
	if place == "test" || place == "bench" {
		return nil
	}
	var found []string
	for _, imported := range p.Imports {
		name, inside := room(imported)
		switch {
		case !inside:
		case place == "api":
			found = append(found, fmt.Sprintf("%s imports %s: others use api without the rest", p.ImportPath, imported))
		case rooms[name] != root:
			found = append(found, fmt.Sprintf("%s imports %s: a main imports composition roots only", p.ImportPath, imported))
		}
	}
	return found
}

// importFault says what is wrong with one import of the room name; empty: nothing.
func importFault(name string, from layer, imported string) string {
	if strings.HasPrefix(imported, "github.com/moby/") && !slices.Contains(swarmOnly, name) {
		return "only internal/docker and internal/swarmkit know Docker's own types"
	}
	if from == pure && isImpure(imported) {
		return "this layer is pure: no context, logger, clock, randomness or I/O"
	}
	target, inside := room(imported)
	if !inside {
		return ""
	}
	to, known := rooms[target]
	switch {
	case !known:
		return "that package is in no layer"
	case from == testOnly:
		return ""
	case to == testOnly:
		return "only tests use it"
	case to > from:
		return "imports go down only"
	case from == adapter && to == adapter && !within(name, target) && !runs[name+" "+target]:
		return "adapters do not import one another"
	}
	return ""
}

func isImpure(imported string) bool {
	return slices.Contains(impure, imported) ||
		slices.ContainsFunc(impureModules, func(path string) bool { return within(imported, path) })
}

// within says whether path is the package parent or lies below it.
func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range listModule(t) {
		for _, violation := range violations(p) {
			t.Error(violation)
		}
	}
}

func TestTheRuleFindsWhatBreaksIt(t *testing.T) {
	tests := map[string]struct {
		from, imports string
		want          string // part of the violation; empty: allowed
	}{
		"down is allowed":                         {"core", "internal/delivery", ""},
		"down past a floor is allowed":            {"cli", "internal/route", ""},
		"pure beside pure is allowed":             {"route", "internal/snapshot", ""},
		"addresses are not the network":           {"route", "net/netip", ""},
		"hashing is no randomness":                {"route", "crypto/sha256", ""},
		"an agent's kind builds on the agent":     {"agent/nginx", "internal/agent", ""},
		"the native proxy is its agent's program": {"agent/native", "internal/proxy", ""},
		"the native proxy knows no agent":         {"proxy", "internal/agent/native", "adapters do not import one another"},
		"docker knows moby":                       {"docker", "github.com/moby/moby/client", ""},
		"up":                                      {"snapshot", "internal/docker", "imports go down only"},
		"a loop does not know the roots":          {"core", "internal/rpc", "imports go down only"},
		"adapters side by side":                   {"docker", "internal/settings", "adapters do not import one another"},
		"the agent does not know its kinds":       {"agent", "internal/agent/nginx", "adapters do not import one another"},
		"two kinds of agent":                      {"agent/nginx", "internal/agent/haproxy", "adapters do not import one another"},
		"moby elsewhere":                          {"core", "github.com/moby/moby/client", "only internal/docker"},
		"a context in a pure package":             {"route", "context", "this layer is pure"},
		"a file in a pure package":                {"render/nginx", "os", "this layer is pure"},
		"gRPC in a pure package":                  {"wire", "google.golang.org/grpc/status", "this layer is pure"},
		"a fixture in the product":                {"route", "internal/fixture", "only tests use it"},
		"a package without a layer":               {"attic", "fmt", "is in no layer"},
		"importing one without a layer":           {"cli", "internal/attic", "is in no layer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			imported := strings.Replace(test.imports, "internal/", module+"/internal/", 1)
			p := goPackage{ImportPath: module + "/internal/" + test.from, Imports: []string{imported}}
			got := strings.Join(violations(p), "\n")
			if test.want == "" && got != "" {
				t.Errorf("it is refused: %s", got)
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want a violation with %q", got, test.want)
			}
		})
	}
}

func TestAMainImportsRootsOnly(t *testing.T) {
	p := goPackage{ImportPath: module + "/cmd/interlock", Imports: []string{"os", module + "/internal/cli", module + "/internal/core"}}
	want := []string{module + "/cmd/interlock imports " + module + "/internal/core: a main imports composition roots only"}
	if got := violations(p); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRoomsAreNamedAfterWhatTheyDo(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(rooms)) {
		for _, banned := range []string{"helper", "util", "common", "manager", "impl"} {
			if strings.Contains(strings.ToLower(name), banned) {
				t.Errorf("internal/%s: a name says what a package is for; %q does not", name, banned)
			}
		}
	}
}
