package e2e

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

// demoLimit is for one make demo, which builds images.
const demoLimit = 5 * time.Minute

func TestMakeDemoServesChangesNothingTheSecondTimeAndLeavesNothing(t *testing.T) {
	lab.Require(t)
	node := lab.New(t, lab.Options{Managers: 1}).Managers()[0]
	run := dockerOn(t, node)
	run("volume", "create", "theirs")
	state := t.TempDir()
	demo := func(proxy, target string) (said string, err error) {
		return makeOn(t, node, target, "DEMO_STATE="+state, "PROXY="+proxy)
	}
	for proxy, other := range map[string]string{"": "nginx", "nginx": "native"} {
		t.Run("PROXY="+proxy, func(t *testing.T) {
			checkDemo(t, node, run, func(target string) string {
				said, err := demo(proxy, target)
				if err != nil {
					t.Fatalf("make %s: %v\n%s", target, err, said)
				}
				return said
			}, func() string {
				said, err := demo(other, "demo")
				if err == nil {
					t.Errorf("with PROXY=%s another demo is made beside it:\n%s", other, said)
				}
				return said
			})
		})
	}
	if said, err := makeOn(t, node, "images"); err != nil {
		t.Fatalf("make images: %v\n%s", err, said)
	}
	checkImages(t, node, run)
}

// checkDemo makes the demo twice, tries to make the other one, and removes it.
func checkDemo(t *testing.T, node *lab.Node, run func(...string) string, makes func(target string) string, tryOther func() (said string)) {
	t.Helper()
	said := makes("demo")
	for _, words := range []string{`"metadata":"demo"`, "x-upstream-addr: " + node.Address() + ":", "Try next:"} {
		if !strings.Contains(said, words) {
			t.Errorf("make demo does not say %q:\n%s", words, said)
		}
	}
	versions := func() string {
		return run(append([]string{"service", "inspect", "-f", "{{.Spec.Name}} {{.Version.Index}}"}, strings.Fields(run("service", "ls", "-q"))...)...)
	}
	before := versions()
	makes("demo")
	if said := tryOther(); !strings.Contains(said, "make demo-down first") {
		t.Errorf("asked for the other proxy, make demo does not say what to do:\n%s", said)
	}
	if after := versions(); after != before {
		t.Errorf("a second make demo changed services\n%s\nto\n%s", before, after)
	}
	makes("demo-down")
	for what, left := range map[string]string{
		"services": run("service", "ls", "-q"), "configs": run("config", "ls", "-q"), "secrets": run("secret", "ls", "-q"),
	} {
		if left != "" {
			t.Errorf("make demo-down leaves %s: %s", what, left)
		}
	}
	if volumes := run("volume", "ls", "-q"); volumes != "theirs" {
		t.Errorf("after make demo-down the volumes are %q, want theirs alone", volumes)
	}
}

// dockerOn runs docker commands on a node that is none of the shared cluster's.
func dockerOn(t *testing.T, node *lab.Node) func(args ...string) string {
	return func(args ...string) string {
		t.Helper()
		out, err := node.Docker(t.Context(), args...)
		if err != nil {
			t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
}

// makeOn runs a target of the Makefile for a node's engine.
func makeOn(t *testing.T, node *lab.Node, target string, environment ...string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "-C", "../..", target)
	cmd.Env = slices.Concat(os.Environ(), node.DockerEnv(), environment)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// checkImages holds the images against what is promised of them.
func checkImages(t *testing.T, node *lab.Node, run func(...string) string) {
	t.Helper()
	const limit = 40 << 20
	for name, user := range map[string]string{"interlock": "0:0", "interlock-extension": "65532:65532", "interlock-proxy": "101:101", "interlock-proxy-native": "65532:65532", "interlock-demo": "65532:65532"} {
		if got := run("image", "inspect", "-f", "{{.Config.User}}", name+":dev"); got != user {
			t.Errorf("%s runs as %s, want %s", name, got, user)
		}
		if got := run("image", "inspect", "-f", "{{if lt .Size "+strconv.Itoa(limit)+"}}small{{end}}", name+":dev"); got != "small" {
			t.Errorf("%s is not under 40 MB", name)
		}
		container := run("create", name+":dev")
		files := exported(t, node, container)
		run("rm", container)
		for _, shell := range []string{"sh", "bash", "dash", "ash", "busybox"} {
			if strings.Contains(files, "bin/"+shell+"\n") {
				t.Errorf("%s has a shell, %s", name, shell)
			}
		}
	}
}

// exported lists the files of a container.
func exported(t *testing.T, node *lab.Node, container string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", `docker export "$0" | tar -t`, container)
	cmd.Env = append(os.Environ(), node.DockerEnv()...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
