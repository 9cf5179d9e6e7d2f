package soak

import (
	"context"
	"fmt"
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
// Interlock that is told to reload.
type bareNginx struct{ reloads, lost int }

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

// reloadEvery is the least distance of a bare nginx's reloads.
const reloadEvery = 2 * time.Second

// measureBare puts the same load on a bare nginx, with as many reloads at equal
// distances, and for as long, if that does not make them rare.
func measureBare(t *testing.T, reloads int, during time.Duration) *bareNginx {
	t.Helper()
	if reloads == 0 {
		return &bareNginx{}
	}
	during = min(during, time.Duration(reloads+1)*reloadEvery)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, route := range usualLoad().Routes {
			if r.Host == route.Host && r.URL.Path == route.Path {
				fmt.Fprintf(w, `{"instance":"bare","metadata":%q}`, route.Owner)
			}
		}
	}))
	defer app.Close()
	address, reload := startBare(t, app.Listener.Addr().String())
	l := load.Start(usualLoad(address, address))
	for range reloads {
		time.Sleep(during / time.Duration(reloads+1))
		reload()
	}
	time.Sleep(during / time.Duration(reloads+1))
	r := l.Stop()
	if r.SentInAll() == 0 || r.Misrouted > 0 {
		t.Errorf("a bare nginx got %d requests, of which %d were misrouted", r.SentInAll(), r.Misrouted)
	}
	return &bareNginx{reloads: reloads, lost: r.LostInAll()}
}

// startBare runs an nginx of this machine in front of an app.
func startBare(t *testing.T, app string) (address string, reload func()) {
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
	return address, func() { check(t, cmd.Process.Signal(syscall.SIGHUP)) }
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
	bare := measureBare(t, reloads, time.Minute)
	if most := reloads * 2 * len(load.Kinds()) * len(usualLoad().Routes); bare.reloads != reloads || bare.lost > most {
		t.Errorf("got %+v, want at most a loss for each connection and reload, %d", bare, most)
	}
}
