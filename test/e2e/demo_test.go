package e2e

import (
	"context"
	"os"
	"os/exec"
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
	run := func(args ...string) string {
		t.Helper()
		out, err := node.Docker(t.Context(), args...)
		if err != nil {
			t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	run("volume", "create", "theirs")
	makeTarget := makeOn(t, node)

	said := makeTarget("demo")
	for _, words := range []string{`"metadata":"demo"`, "x-upstream-addr: " + node.Address() + ":", "Try next:"} {
		if !strings.Contains(said, words) {
			t.Errorf("make demo does not say %q:\n%s", words, said)
		}
	}
	checkImages(t, node, run)

	versions := func() string {
		return run(append([]string{"service", "inspect", "-f", "{{.Spec.Name}} {{.Version.Index}}"}, strings.Fields(run("service", "ls", "-q"))...)...)
	}
	before := versions()
	makeTarget("demo")
	if after := versions(); after != before {
		t.Errorf("a second make demo changed services\n%s\nto\n%s", before, after)
	}

	makeTarget("demo-down")
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

// makeOn runs targets of the Makefile for a node's engine.
func makeOn(t *testing.T, node *lab.Node) func(target string) string {
	t.Helper()
	state := t.TempDir()
	return func(target string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "make", "-C", "../..", target)
		cmd.Env = append(append(os.Environ(), node.DockerEnv()...), "DEMO_STATE="+state)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
		return string(out)
	}
}

// checkImages holds the images against what is promised of them.
func checkImages(t *testing.T, node *lab.Node, run func(...string) string) {
	t.Helper()
	const limit = 40 << 20
	for name, user := range map[string]string{"interlock": "0:0", "interlock-extension": "65532:65532", "interlock-proxy": "101:101", "interlock-demo": "65532:65532"} {
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
