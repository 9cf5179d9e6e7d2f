// Package e2e runs Interlock as its users do: docker commands on a real Swarm
// of eight engines, requests from outside, and nothing faked.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

// version tags the images that are built from this checkout.
const version = "e2e"

// cluster is the Swarm that all tests of this package share; nil where no lab
// can run, and every test then says why.
var cluster *lab.Lab

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if lab.Unavailable() != nil {
		return m.Run(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cluster, err = lab.Up(ctx, lab.Options{})
	if err != nil {
		return 1, err
	}
	defer func() {
		if down := cluster.Down(); down != nil && err == nil {
			err = down
		}
	}()
	if err := buildImages(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// buildImages makes the images on one of the lab's engines, as `make images`
// does for anybody, and pushes them to the lab's registry.
func buildImages(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "make", "-s", "-C", "../..", "images", "VERSION="+version)
	cmd.Env = append(os.Environ(), cluster.Builder().DockerEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make images: %w\n%s", err, out)
	}
	return cluster.PushImages(ctx, image("interlock"), image("interlock-extension"), image("interlock-proxy"), image("interlock-demo"))
}

func image(name string) string { return name + ":" + version }
