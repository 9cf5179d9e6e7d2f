package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// commandTimeout bounds every program that the lab runs for itself.
	commandTimeout = 30 * time.Second
	// dockerTimeout bounds a docker command whose caller sets no deadline.
	dockerTimeout = 5 * time.Minute
)

// run runs a program to its end and returns its standard output without the
// final newline. The error holds what the program said on standard error.
func run(ctx context.Context, env []string, stdin, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append([]string{"PATH=" + searchPath, "HOME=/root"}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %s", commandLine(program, args), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}

// commandLine is a command as errors quote it: shortened, and without the token
// that admits a node to the swarm.
func commandLine(program string, args []string) string {
	const most = 200
	words := append([]string{filepath.Base(program)}, args...)
	for i, w := range words[1:] {
		if words[i] == "--token" {
			words[i+1] = strings.Repeat("*", min(len(w), 3))
		}
	}
	line := strings.Join(words, " ")
	if len(line) > most {
		line = line[:most] + "…"
	}
	return line
}
