package walkthrough

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/interlock-lb/interlock/test/lab"
)

// Logs returns what a service's containers on running nodes have written, to
// whichever output, node by node; with arguments of "docker logs" such as
// --timestamps. It asks the nodes themselves: after a change of leader Swarm may
// go on for minutes to call a healthy node unavailable when "docker service logs"
// asks for it.
func (s *Site) Logs(ctx context.Context, service string, args ...string) (string, error) {
	// By ID: containers of a service of that name may be left of an earlier test.
	id, err := s.Docker(ctx, "service", "inspect", "-f", "{{.ID}}", service)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, node := range s.Lab.Nodes() {
		if !node.Running() {
			continue
		}
		containers, err := node.Docker(ctx, "ps", "--all", "--quiet", "--filter", "label=com.docker.swarm.service.id="+strings.TrimSpace(id))
		if err != nil {
			return "", err
		}
		for _, id := range strings.Fields(containers) {
			// The container may have been removed since.
			out, _ := containerLog(ctx, node, append(args, id))
			text.WriteString(out)
		}
	}
	return text.String(), nil
}

func containerLog(ctx context.Context, node *lab.Node, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"logs"}, args...)...)
	cmd.Env = append(os.Environ(), node.DockerEnv()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
