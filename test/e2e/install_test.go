package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// offline tags images that no registry has.
const offline = "offline"

func TestInstallingWithoutARegistryRunsAsWritten(t *testing.T) {
	newInstallation(t)
	w := follow(t, "install.md")
	bundleImages(t, w)

	w.section(t, "Without a registry")
	w.section(t, "Install")
	checkTraffic(t)
	before := docker(t, "service", "inspect", "-f", "{{.Version.Index}} {{.Spec.Labels}}", "interlock_core")
	w.section(t, "With docker stack deploy")
	after := docker(t, "service", "inspect", "-f", "{{index .Spec.Labels \"com.docker.interlock.installation\"}}", "interlock_core")
	if !strings.Contains(before, "com.docker.interlock.installation:"+after) {
		t.Errorf("the stack file makes the installation %q, install had made %s", after, before)
	}
	checkTraffic(t)
	w.section(t, "Uninstall")
	if left := docker(t, "config", "ls", "-q"); left != "" {
		t.Errorf("uninstall leaves configs: %s", left)
	}
	if left := docker(t, "secret", "ls", "--format", "{{.Name}}"); left != "interlock-authority" {
		t.Errorf("of secrets uninstall leaves %q, want the operator's own authority", left)
	}
	w.section(t, "A standalone")
}

func TestInstallSaysWhatIsWrong(t *testing.T) {
	newInstallation(t)
	binary := buildBinary(t, t.TempDir())
	if said := interlock(t, binary, false, "install", "--yes", "--version", version); !strings.Contains(said, "no node has the label nodetype=loadbalancer") {
		t.Errorf("without load balancers it says:\n%s", said)
	}
	if services := docker(t, "service", "ls", "-q"); services != "" {
		t.Errorf("it has made services all the same: %s", services)
	}
	if err := site.SetLoadBalancersAside(t.Context()); err != nil {
		t.Fatal(err)
	}
	docker(t, "service", "create", "--detach", "--name", "squatter", "--constraint", "node.hostname==lb-01",
		"--publish", "mode=host,target=8080,published=80", image("interlock-demo"))
	waitForTask(t, "squatter")
	if said := interlock(t, binary, false, "install", "--yes", "--version", version); !strings.Contains(said, "port 80 is published by the service squatter already") {
		t.Errorf("with a port that is taken it says:\n%s", said)
	}
	docker(t, "service", "rm", "squatter")
	said := interlock(t, binary, false, "install", "--yes", "--version", "missing", "--timeout", "20s")
	for _, words := range []string{"interlock_core on manager-", "No such image", "docker load"} {
		if !strings.Contains(said, words) {
			t.Errorf("with images that are nowhere it does not say %q:\n%s", words, said)
		}
	}
	interlock(t, binary, true, "uninstall", "--yes")
	if said := interlock(t, binary, true, "uninstall"); !strings.Contains(said, "nothing to remove") {
		t.Errorf("with nothing installed uninstall says:\n%s", said)
	}
}

// checkTraffic deploys an app and takes it away again.
func checkTraffic(t *testing.T) {
	t.Helper()
	docker(t, "service", "create", "--detach", "--name", "demo", "--constraint", "node.hostname==lb-00",
		"--label", "com.docker.lb.hosts=demo.local", "--label", "com.docker.lb.port=8080",
		"--publish", "mode=host,target=8080", "--env", "METADATA=demo", "interlock-demo:"+offline)
	waitForAnswer(t, "demo.local", "demo", loadBalancers...)
	docker(t, "service", "rm", "demo")
}

// bundleImages makes the file of `make bundle`, which stands in the page's
// folder, and takes the images off the engine that has built them. For the page
// ssh runs a command with a node's engine, and interlock is this checkout's.
func bundleImages(t *testing.T, w *walk) {
	t.Helper()
	builder := cluster.Builder()
	cmd := exec.CommandContext(t.Context(), "make", "-s", "-C", "../..", "bundle", "VERSION="+offline)
	cmd.Env = append(os.Environ(), builder.DockerEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make bundle: %v\n%s", err, out)
	}
	if err := os.Rename("../../build/interlock-"+offline+".tar", filepath.Join(w.folder, "interlock-"+offline+".tar")); err != nil {
		t.Fatal(err)
	}
	var images []string
	for _, name := range []string{"interlock", "interlock-extension", "interlock-proxy", "interlock-demo"} {
		images = append(images, name+":"+offline)
	}
	t.Cleanup(func() {
		for _, n := range cluster.Nodes() {
			_, _ = n.Docker(context.Background(), append([]string{"rmi", "--force"}, images...)...) // not all nodes have them
		}
	})
	if _, err := builder.Docker(t.Context(), append([]string{"rmi"}, images...)...); err != nil {
		t.Fatal(err)
	}
	var ssh strings.Builder
	ssh.WriteString("#!/bin/sh\ncase $1 in\n")
	for _, n := range cluster.Nodes() {
		fmt.Fprintf(&ssh, "%s) export %s ;;\n", n.Name(), strings.Join(n.DockerEnv(), " "))
	}
	ssh.WriteString("*) echo no node $1 >&2; exit 1 ;;\nesac\nshift\nexec \"$@\"\n")
	if err := os.WriteFile(filepath.Join(w.bin, "ssh"), []byte(ssh.String()), 0o755); err != nil {
		t.Fatal(err)
	}
	buildBinary(t, w.bin)
}

func buildBinary(t *testing.T, folder string) string {
	t.Helper()
	binary := filepath.Join(folder, "interlock")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/interlock").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// interlock runs the command against a manager and expects it to succeed, or to fail.
func interlock(t *testing.T, binary string, succeeds bool, args ...string) string {
	t.Helper()
	manager, err := site.Manager()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = manager.DockerEnv()
	out, err := cmd.CombinedOutput()
	if (err == nil) != succeeds {
		t.Fatalf("interlock %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
