package soak

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/load"
)

// bareNginx is what clients that keep connections lose of an nginx without
// Interlock that is told to reload, and how often each of ours was meanwhile.
type bareNginx struct{ reloads, lost, ours int }

// allowance is how many connections may break that way in as many reloads as ours:
// two counts of one rare race differ by chance.
func (b *bareNginx) allowance() int { return 3 + 2*b.lost*b.ours/max(b.reloads, 1) }

// nginxProgram is where Debian has it, which root's PATH may lack.
const nginxProgram = "/usr/sbin/nginx"

const bareConfiguration = `daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log;
worker_processes 1;
events { worker_connections 2048; }
http {
	access_log off;
	upstream app { server %[2]s; }
	server {
		listen %[3]s;
		location / { proxy_set_header Host $host; proxy_pass http://app; }
	}
}
`

// reloadEvery is the distance of a bare nginx's reloads.
const reloadEvery = 2 * time.Second

// beside is a bare nginx with the load of a scenario, on the same machine at the same
// time: how busy that is decides how long a request may be on its way to a worker
// that leaves.
type beside struct {
	load    *load.Load
	reloads int        // may be read once ended has been
	least   chan int   // says after how many to end
	ended   chan error // of a reload that failed; nil: after as many
}

// startBeside has a bare nginx reload again and again until finish.
func startBeside(t *testing.T) *beside {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, route := range usualLoad().Routes {
			if r.Host == route.Host && r.URL.Path == route.Path {
				fmt.Fprintf(w, `{"instance":"bare","metadata":%q}`, route.Owner)
			}
		}
	}))
	t.Cleanup(app.Close)
	address, reload := startBare(t, app.Listener.Addr().String())
	b := &beside{load: load.Start(usualLoad(address, address)), least: make(chan int, 1), ended: make(chan error, 1)}
	go func() { b.ended <- b.repeat(reload) }()
	t.Cleanup(func() { b.load.Stop() }) // of a scenario that is broken off
	return b
}

// repeat reloads until finish says that it is enough, or nginx has ended.
func (b *beside) repeat(reload func() error) error {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for least := math.MaxInt; b.reloads < least; {
		select {
		case least = <-b.least:
		case <-ticker.C:
			b.reloads++
			if err := reload(); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish returns what the bare nginx lost in at least as many reloads as ours.
func (b *beside) finish(t *testing.T, ours int) *bareNginx {
	t.Helper()
	b.least <- ours
	check(t, <-b.ended)
	time.Sleep(reloadEvery) // the last one's losses
	r := b.load.Stop()
	if r.SentInAll() == 0 || r.Misrouted > 0 {
		t.Errorf("a bare nginx got %d requests, of which %d were misrouted", r.SentInAll(), r.Misrouted)
	}
	return &bareNginx{reloads: b.reloads, lost: r.LostInAll(), ours: ours}
}

// startBare runs an nginx of this machine in front of an app.
func startBare(t *testing.T, app string) (address string, reload func() error) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	address = listener.Addr().String()
	check(t, listener.Close())
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	check(t, os.WriteFile(file, fmt.Appendf(nil, bareConfiguration, dir, app, address), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, nginxProgram, "-c", file, "-p", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	check(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // that it was told to end is no failure
	})
	eventually(t, "nginx serves", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return address, func() error { return cmd.Process.Signal(syscall.SIGHUP) }
}

// reloadsSince counts what each nginx has reloaded.
func reloadsSince(t *testing.T, began time.Time) int {
	t.Helper()
	out, err := site.Logs(t.Context(), "interlock-proxy", "--since", began.Format(time.RFC3339Nano))
	check(t, err)
	return strings.Count(out, "bundle served") / len(proxies())
}

func TestWhatABareNginxLosesIsMeasured(t *testing.T) {
	if _, err := os.Stat(nginxProgram); err != nil {
		t.Skip(err)
	}
	const reloads = 2
	bare := startBeside(t).finish(t, reloads)
	if most := reloads * 2 * len(load.Kinds()) * len(usualLoad().Routes); bare.reloads != reloads || bare.lost > most {
		t.Errorf("got %+v, want at most a loss for each connection and reload, %d", bare, most)
	}
}
