// Package e2e runs Interlock as its users do: docker commands on a real Swarm
// of eight engines, requests from outside, and nothing faked.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// standingLab is the environment variable that names a lab of `make lab-up`,
// which is called dev, to run the tests on: it stays up, which saves time while
// one test is being written.
const standingLab = "INTERLOCK_LAB"

// version tags the images that are built from this checkout.
const version = "e2e"

// site is the cluster as Interlock is installed on it.
var site = &walkthrough.Site{Version: version}

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
	if name := os.Getenv(standingLab); name != "" {
		if cluster, err = lab.Open(name); err != nil {
			return 1, err
		}
	} else {
		if cluster, err = lab.Up(ctx, lab.Options{}); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, cluster.Down()) }()
	}
	site.Lab = cluster
	if err := site.BuildImages(ctx, "../.."); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func image(name string) string { return site.Image(name) }
