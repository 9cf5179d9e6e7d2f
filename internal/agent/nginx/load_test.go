package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// opened counts what the kernel keeps for a process: open files and mappings.
func opened(t *testing.T, pid int) (files, mappings int) {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list), strings.Count(string(maps), "\n")
}

func TestANginxThatServesKeepsNothingOfWhatItRefused(t *testing.T) {
	r := newRig(t)
	good := r.bundle(app(t, "one"))
	r.apply(good)
	// Refused while it is read; when shared memory has been made for it; when a
	// socket has been opened for it.
	bad := []render.Bundle{
		spoiled(good, "http {", "http { nonsense on;"),
		spoiled(good, "http {", fmt.Sprintf("http { limit_conn_zone $host zone=a:1m; access_log %s;", r.path("none/there"))),
		spoiled(good, "http {", fmt.Sprintf("http { server { listen 127.0.0.1:%d; listen 192.0.2.1:80; }", freePort(t))),
	}
	refuse := func() {
		for i := range bad {
			r.refused(bad[i])
		}
	}
	for range 3 {
		refuse()
	}
	files, mappings := opened(t, r.master())
	for range 10 {
		refuse()
	}
	if f, m := opened(t, r.master()); f > files || m > mappings+5 {
		t.Errorf("the master has %d files and %d mappings, and had %d and %d", f, m, files, mappings)
	}
	r.answers("one")
	r.inPlace(good)
}

func TestARefusalThatNginxWritesElsewhereIsFoundOut(t *testing.T) {
	r := newRig(t)
	deaf := spoiled(r.bundle(app(t, "one")), "error_log stderr emerg;", "")
	r.apply(deaf)
	if reason := r.refused(spoiled(deaf, "http {", "http { nonsense on;")); !strings.Contains(reason, `unknown directive "nonsense"`) {
		t.Errorf("refused with %q", reason)
	}
	r.answers("one")
	r.inPlace(deaf)
	r.apply(r.bundle(app(t, "two")))
	r.answers("two")
}

func TestAMasterThatDiesOfABundleComesBackWithTheOneBefore(t *testing.T) {
	r := newRig(t)
	good := r.bundle(app(t, "one"))
	r.apply(good)
	// nginx waits for whoever writes into the pipe, and is killed meanwhile.
	pipe := r.path("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := spoiled(good, "http {", "http { include "+pipe+";")
	killed := r.master()
	failed := make(chan error, 1)
	go func() { failed <- r.agent.Apply(t.Context(), bad, "table") }()
	r.eventually("nginx reads the bundle", func() bool {
		data, err := os.ReadFile(good.Files[0].Path)
		if err != nil || !strings.Contains(string(data), pipe) {
			return false
		}
		return waitsFor(killed, "etc/nginx.conf")
	})
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a bundle that nginx died of was served")
	}
	r.eventually("served by another nginx", func() bool {
		status, _ := r.agent.Status()
		return status.BundleVersion == good.Version() && r.master() != killed
	})
	r.answers("one")
	r.inPlace(good)
}

// waitsFor says whether a process has opened a file.
func waitsFor(pid int, name string) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasSuffix(target, name) {
			return true
		}
	}
	return false
}

func TestABundleWithAnotherNumberOfWorkersIsInEffectWhenApplyReturns(t *testing.T) {
	r := newRig(t)
	for _, count := range []string{"2", "4", "1", "3"} {
		r.serve(tableFor(app(t, count)), map[string]any{"WorkerProcesses": count})
		for range 8 {
			r.answers(count)
		}
	}
}

func TestASocketThatWasOpenedForARefusedBundleIsOutOfTheWay(t *testing.T) {
	s := newSecure(t)
	one := app(t, "one")
	s.apply(s.bundle(one))
	through := tableFor(one)
	through.Passthrough = []route.Passthrough{{Name: "through.local", Forward: to("demo")}}
	taken, port := takePort(t)
	free := s.sslPort
	s.sslPort = port
	s.refused(s.render(s.port, through, nil))
	taken.Close()
	s.sslPort = free
	s.serve(through, nil)
	s.answers("one")
}
