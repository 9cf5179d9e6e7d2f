package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// waitForLog waits until a line of the core's log holds all of the words.
func waitForLog(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the core's log says %q", words), func(ctx context.Context) error {
		out, err := site.Logs(ctx, "interlock")
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
		said, _ := site.Logs(ctx, service)
		t.Logf("%s\n%s\n%s", service, ps, tail(said, 40))
	}
}
