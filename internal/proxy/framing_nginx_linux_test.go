package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
)

// nginxReads is an nginx that takes requests in the folder's socket clients, as
// they are, and hands what it has read of them to the one named app.
const nginxReads = `
daemon off;
master_process off;
pid FOLDER/pid;
error_log stderr crit;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path FOLDER/body;
	proxy_temp_path FOLDER/proxy;
	fastcgi_temp_path FOLDER/fastcgi;
	uwsgi_temp_path FOLDER/uwsgi;
	scgi_temp_path FOLDER/scgi;
	client_max_body_size 0;
	large_client_header_buffers 8 64k;
	underscores_in_headers on;
	ignore_invalid_headers off;
	merge_slashes off;
	server {
		listen unix:FOLDER/clients;
		location / {
			proxy_pass http://unix:FOLDER/app;
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_ignore_client_abort on;
		}
	}
}
`

// FuzzWhatAppsGetIsReadAlikeByNginx is the same with a real nginx for the second
// reader.
func FuzzWhatAppsGetIsReadAlikeByNginx(f *testing.F) {
	fuzzFraming(f, startNginxReader(f).agrees)
}

// nginxReader tells what a real nginx reads of bytes.
type nginxReader struct {
	clients string // a socket
	mu      sync.Mutex
	seen    []asked
}

// startNginxReader starts one that ends with the test.
func startNginxReader(t testing.TB) *nginxReader {
	t.Helper()
	program, folder := fixture.Program(t, "nginx"), t.TempDir()
	r := &nginxReader{clients: filepath.Join(folder, "clients")}
	behind, err := net.Listen("unix", filepath.Join(folder, "app"))
	if err != nil {
		t.Fatal(err)
	}
	app := &http.Server{Handler: http.HandlerFunc(r.note)}
	var running sync.WaitGroup
	running.Go(func() { _ = app.Serve(behind) }) // until it is closed
	conf := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(conf, []byte(strings.ReplaceAll(nginxReads, "FOLDER", folder)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	nginx := exec.CommandContext(ctx, program, "-e", "stderr", "-p", folder, "-c", conf)
	nginx.Stderr = t.Output()
	// A process that fuzzes may be killed, and whoever waits for it waits for all
	// that have its pipes.
	nginx.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = nginx.Wait() // it is killed
		_ = app.Close()
		running.Wait()
	})
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", r.clients); err == nil {
			c.Close()
			return r
		} else if time.Since(began) > patience {
			t.Fatalf("nginx does not begin: %v", err)
		}
	}
}

// note takes a request as nginx has read it.
func (r *nginxReader) note(_ http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // nginx has found no end of it
	}
	a := askedOf(q)
	a.body, a.fields = string(body), endToEnd(a.fields)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, a)
}

// endToEnd drops the fields that nginx keeps for itself.
func endToEnd(fields []string) []string {
	return slices.DeleteFunc(slices.Clone(fields), func(text string) bool {
		name, _, _ := strings.Cut(text, ":")
		return slices.Contains([]string{"connection", "keep-alive", "upgrade", "expect", "te"}, name)
	})
}

// follows is sent behind a request: it is read as a request of its own where the
// one before ends where everybody else thinks that it does.
const follows = "GET /follows HTTP/1.1\r\nHost: follows\r\nConnection: close\r\n\r\n"

// agrees fails where nginx reads something else of bytes than what was read of
// them first. What it refuses it does not read.
func (r *nginxReader) agrees(raw []byte, first asked) error {
	status, err := r.status(slices.Concat(raw, []byte(follows)))
	if err != nil {
		return fmt.Errorf("nginx reads of %q: %w", raw, err)
	}
	r.mu.Lock()
	seen := r.seen
	r.seen = nil
	r.mu.Unlock()
	first.fields = endToEnd(first.fields)
	switch {
	case len(seen) == 2 && seen[0].equal(first) && seen[1].target == "/follows":
		return nil
	case status == http.StatusBadRequest && len(seen) == 0 && !nginxTakes(first):
		return nil
	case status == http.StatusMethodNotAllowed && len(seen) == 1 && seen[0].target == "/follows" && first.method == "TRACE":
		return nil
	}
	return fmt.Errorf("net/http reads %q, nginx answers %d and reads %q of %q", first, status, seen, raw)
}

// status sends bytes and returns the status of the first answer when the last
// has come.
func (r *nginxReader) status(raw []byte) (int, error) {
	c, err := net.Dial("unix", r.clients)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	// It may have refused it before it has all.
	_, _ = c.Write(raw)
	_ = c.(*net.UnixConn).CloseWrite()
	answers, err := io.ReadAll(c)
	if err != nil && len(answers) == 0 {
		return 0, err
	}
	answers = bytes.TrimPrefix(answers, []byte("HTTP/1.1 100 Continue\r\n\r\n"))
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answers)), nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	return answer.StatusCode, nil
}

func TestNginxTellsWhatOthersReadOtherwise(t *testing.T) {
	r := startNginxReader(t)
	const one = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
	read := asked{method: "POST", target: "/", host: "a", body: "x"}
	if err := r.agrees([]byte(one), read); err != nil {
		t.Error(err)
	}
	for name, raw := range map[string]string{
		"it is two":         one + one,
		"there is no end":   strings.Replace(one, "Length: 1", "Length: 500", 1),
		"it has other text": strings.Replace(one, "Host: a", "Host: b", 1),
		"it has none":       strings.Replace(one, "HTTP/1.1", "HTTP", 1),
	} {
		if r.agrees([]byte(raw), read) == nil {
			t.Errorf("%s, and it agrees", name)
		}
	}
}

// nginxTakes reports whether a request is one that nginx does not refuse with 400
// for what it asks, however well it is framed: methods in capital letters, and
// paths that stay below their root.
func nginxTakes(a asked) bool {
	if strings.Trim(a.method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-") != "" {
		return false
	}
	return !strings.Contains(a.target, "..")
}
