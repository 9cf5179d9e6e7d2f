package bench

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// patience bounds every wait: a figure that is worse says that something is
// broken, not slow.
const patience = 60 * time.Second

// site is what the benchmarks of a process share. Its lab comes up for the first
// one that needs it.
var (
	site      = &walkthrough.Site{Version: "bench"}
	bringUp   = sync.OnceValue(up)
	installed setup
)

// setup is which Interlock is installed; the zero value is none.
type setup struct {
	kind string // of proxy
	from source
}

// source is what a core reads Swarm through.
type source string

// The sources. The control socket's folder is mounted in addition to Docker's.
const (
	dockerAPI     source = "docker-api"
	controlSocket source = "control-socket"
)

var sources = []source{dockerAPI, controlSocket}

func (s source) mounts() []string {
	if s == controlSocket {
		return []string{"--mount", "src=/var/run/docker/swarm,dst=/var/run/docker/swarm,type=bind"}
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if site.Lab != nil {
		if err := site.Lab.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func up() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	if site.Lab, err = lab.Up(ctx, lab.Options{}); err != nil {
		return err
	}
	return site.BuildImages(ctx, "..")
}

// needLab skips the benchmark where no lab can run.
func needLab(b *testing.B) {
	b.Helper()
	lab.Require(b)
	if err := bringUp(); err != nil {
		b.Fatal(err)
	}
}

// needInterlock is needLab with Interlock installed, and with an app that both
// proxies answer for.
func needInterlock(b *testing.B) {
	b.Helper()
	needLab(b)
	if installed == (setup{}) {
		install(b, setup{"nginx", dockerAPI})
	}
}

// throughEach runs a benchmark with Interlock installed for each kind of proxy
// and each source.
func throughEach(b *testing.B, run func(*testing.B)) {
	b.Helper()
	needLab(b)
	for _, kind := range walkthrough.Kinds() {
		for _, from := range sources {
			b.Run(kind+"/"+string(from), func(b *testing.B) {
				if s := (setup{kind, from}); installed != s {
					install(b, s)
				}
				run(b)
			})
		}
	}
}

// install deploys the demo app to an empty Swarm, and then Interlock. It returns
// how long both proxies took to answer for the app, from the command that
// created the core.
func install(b *testing.B, s setup) []time.Duration {
	b.Helper()
	check(b, site.Clear(b.Context()))
	check(b, site.SetLoadBalancersAside(b.Context()))
	check(b, site.CreateApp(b.Context(), "demo", "demo.local"))
	waitForTasks(b, "demo", 1)
	check(b, site.StoreConfig(b.Context(), walkthrough.ConfigName, site.ConfigFor(s.kind)))
	began := time.Now()
	check(b, site.CreateCore(b.Context(), walkthrough.ConfigName, s.from.mounts()...))
	var took []time.Duration
	for _, answer := range firstAnswers(b, "demo.local", nil) {
		took = append(took, answer.at.Sub(began))
	}
	installed = s
	return took
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func docker(b *testing.B, args ...string) string {
	b.Helper()
	out, err := site.Docker(b.Context(), args...)
	check(b, err)
	return out
}
