package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

// logs returns what a service's containers on running nodes have written, to
// whichever output, node by node. It asks the nodes themselves: after a change
// of leader Swarm may go on for minutes to call a healthy node unavailable when
// "docker service logs" asks for it.
func logs(ctx context.Context, service string) (string, error) {
	// By ID: containers of a service of that name may be left of an earlier test.
	id, err := site.Docker(ctx, "service", "inspect", "-f", "{{.ID}}", service)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, node := range cluster.Nodes() {
		if !node.Running() {
			continue
		}
		containers, err := node.Docker(ctx, "ps", "--all", "--quiet", "--filter", "label=com.docker.swarm.service.id="+strings.TrimSpace(id))
		if err != nil {
			return "", err
		}
		for _, id := range strings.Fields(containers) {
			// The container may have been removed since.
			out, _ := containerLog(ctx, node, id)
			text.WriteString(out)
		}
	}
	return text.String(), nil
}

func containerLog(ctx context.Context, node *lab.Node, id string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", "logs", id)
	cmd.Env = append(os.Environ(), node.DockerEnv()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// waitForLog waits until a line of the core's log holds all of the words.
func waitForLog(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the core's log says %q", words), func(ctx context.Context) error {
		out, err := logs(ctx, "interlock")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
		}
		return fmt.Errorf("no such line among the last:\n%s", tail(out, 8))
	})
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// explain logs what one would ask Docker for when a test has failed.
func explain(t *testing.T) {
	// An engine that a test has paused does not answer.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, service := range []string{"interlock", "interlock-ext", "interlock-proxy"} {
		ps, _ := site.Docker(ctx, "service", "ps", "--no-trunc", service)
		said, _ := logs(ctx, service)
		t.Logf("%s\n%s\n%s", service, ps, tail(said, 40))
	}
}
