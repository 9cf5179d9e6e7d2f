package soak

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

const (
	// standingLab names a lab of `make lab-up` to run on, as for test/e2e.
	standingLab = "INTERLOCK_LAB"
	// form is "full" or "short" for all scenarios; without it the tests play those
	// that make test has time for, and briefly.
	form = "SOAK"
	// report is the file whose table gets what was counted; none: it is printed only.
	report = "SOAK_REPORT"
)

// version tags the images that are built from this checkout.
const version = "soak"

// patience bounds waits for what takes a working cluster seconds.
const patience = 3 * time.Minute

// site is the cluster as Interlock is installed on it. It has no lab where none
// can run.
var site = &walkthrough.Site{Version: version}

// full says whether the scenarios are played in their full form.
var full = os.Getenv(form) == "full"

func TestMain(m *testing.M) {
	code := m.Run()
	if site.Lab != nil && os.Getenv(standingLab) == "" {
		if err := site.Lab.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// up brings up the lab, or opens the standing one, with this checkout's images.
func up(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if name := os.Getenv(standingLab); name != "" {
		site.Lab, err = lab.Open(name)
	} else {
		site.Lab, err = lab.Up(ctx, lab.Options{})
	}
	if err != nil {
		return err
	}
	return site.BuildImages(ctx, "../..")
}
