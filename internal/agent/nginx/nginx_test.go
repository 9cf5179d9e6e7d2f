package nginx_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/render"
)

func TestTheFirstBundleStartsNginxAndServesTheApp(t *testing.T) {
	r := newRig(t)
	b := r.bundle(app(t, "one"))
	r.apply(b)
	r.answers("one")
	status, _ := r.agent.Status()
	if want := (agent.Status{BundleVersion: b.Version(), TableVersion: "table"}); status != want {
		t.Errorf("status %+v, want %+v", status, want)
	}
}

func TestResponsesAndRequestsCarryTheDocumentedHeaders(t *testing.T) {
	r := newRig(t)
	one := app(t, "one")
	r.apply(r.bundle(one))
	got, err := r.get("demo.local:8080", "/echo")
	if err != nil {
		t.Fatal(err)
	}
	hostname, _ := os.Hostname()
	id := got.header.Get("x-request-id")
	for name, pattern := range map[string]string{
		"X-Request-Id": `^[0-9a-f]{32}$`, "X-Proxy-Id": "^" + regexp.QuoteMeta(strings.ToLower(hostname)) + "$", "X-Server-Info": "^interlock/test$",
		"X-Upstream-Addr": "^" + regexp.QuoteMeta(one.Listener.Addr().String()) + "$", "X-Upstream-Response-Time": `^[0-9]+\.[0-9]{3}$`,
	} {
		if values := got.header[name]; len(values) != 1 || !regexp.MustCompile(pattern).MatchString(values[0]) {
			t.Errorf("%s: %q, want %s once", name, values, pattern)
		}
	}
	if want := "demo.local:8080|127.0.0.1|127.0.0.1|http|" + id; got.body != want {
		t.Errorf("the app was sent %q, want %q", got.body, want)
	}
}

func TestAnUnknownHostAndAServiceWithoutTasksGet503(t *testing.T) {
	r := newRig(t)
	r.apply(r.bundle())
	for host, says := range map[string]string{"nobody.example.com": "No service is configured", "demo.local": "no running task"} {
		got, err := r.get(host, "/")
		if err != nil {
			t.Fatal(err)
		}
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, says) || strings.Contains(got.body, host) {
			t.Errorf("%s: %d %q, want 503 that says %q and does not repeat the host", host, got.status, got.body, says)
		}
		if got.header.Get("x-request-id") == "" || got.header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: headers %v", host, got.header)
		}
	}
}

func TestALaterBundleIsInEffectWhenApplyReturns(t *testing.T) {
	r := newRig(t)
	one, two := app(t, "one"), app(t, "two")
	for range 5 {
		r.apply(r.bundle(one))
		r.answers("one")
		r.apply(r.bundle(two))
		r.answers("two")
	}
}

func TestAFileThatNginxDoesNotAcceptIsRefusedInItsOwnWords(t *testing.T) {
	r := newRig(t)
	good := r.bundle(app(t, "one"))
	r.apply(good)
	bad := spoiled(good, "http {", "http { nonsense on;")
	if got, want := r.refused(bad), fmt.Sprintf(`unknown directive "nonsense" in %s:`, r.path("etc/nginx.conf")); !strings.HasPrefix(got, want) {
		t.Errorf("refused with %q, want it to begin with %q", got, want)
	}
	r.answers("one")
	r.inPlace(good)
	status, _ := r.agent.Status()
	if status.BundleVersion != good.Version() || status.RefusedVersion != bad.Version() || status.Refusal == "" {
		t.Errorf("status %+v", status)
	}
}

func TestAFirstBundleThatIsRefusedLeavesNothingBehind(t *testing.T) {
	r := newRig(t)
	good := r.bundle(app(t, "one"))
	r.refused(spoiled(good, "http {", "http { nonsense on;"))
	if _, err := os.Stat(r.path("etc/nginx.conf")); !os.IsNotExist(err) {
		t.Errorf("the refused file is in place: %v", err)
	}
	r.apply(good)
	r.answers("one")
}

func TestAPortThatIsTakenAtReloadIsRefusedAndTheFilesPutBack(t *testing.T) {
	r := newRig(t)
	one := app(t, "one")
	good := r.bundle(one)
	r.apply(good)
	taken, port := takePort(t)
	defer taken.Close()
	other := r.bundleOn(port, one)
	if got := r.refused(other); !strings.Contains(got, "Address already in use") {
		t.Errorf("refused with %q", got)
	}
	r.answers("one")
	r.inPlace(good)
	taken.Close()
	r.apply(other)
}

func TestAPortThatIsTakenAtTheFirstStartIsRefused(t *testing.T) {
	r := newRig(t)
	taken, port := takePort(t)
	defer taken.Close()
	one := app(t, "one")
	if got := r.refused(r.bundleOn(port, one)); !strings.Contains(got, "Address already in use") {
		t.Errorf("refused with %q", got)
	}
	r.apply(r.bundle(one))
	r.answers("one")
}

func TestANginxThatNeverAnswersTheTokenGoesBackToTheBundleBefore(t *testing.T) {
	r := newRig(t, func(o *agent.Options) { o.ConfirmTimeout = 5 * time.Second })
	good := r.bundle(app(t, "one"))
	r.apply(good)
	other := r.bundle(app(t, "two"))
	for name, says := range map[string][2]string{
		"another token": {`return 200 "`, "another configuration"},
		"an error":      {`return 404 "`, "404"},
	} {
		bad := spoiled(other, `return 200 "`, says[0]+"not ")
		var refused *agent.Refused
		if err := r.agent.Apply(t.Context(), bad, "table"); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), says[1]) {
			t.Errorf("%s: %v", name, err)
		}
		r.answers("one")
		r.inPlace(good)
	}
}

func TestAnAgentStartsWithTheLastGoodBundleAndNobodyAround(t *testing.T) {
	r := newRig(t)
	good := r.bundle(app(t, "one"))
	r.apply(good)
	r.refused(spoiled(good, "http {", "http { nonsense on;"))
	r.stop()
	if err := os.RemoveAll(r.path("etc")); err != nil { // a new container has none of the files
		t.Fatal(err)
	}
	r.start()
	r.eventually("served again", func() bool {
		status, _ := r.agent.Status()
		return status.BundleVersion == good.Version() && status.TableVersion == "table"
	})
	r.answers("one")
}

func TestADamagedLastGoodBundleIsIgnored(t *testing.T) {
	r := newRig(t)
	good := r.bundle(app(t, "one"))
	r.apply(good)
	r.stop()
	data, err := os.ReadFile(r.path("state/last-good"))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(r.path("state/last-good"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got := r.health(); got != http.StatusServiceUnavailable {
		t.Errorf("health %d before any bundle", got)
	}
	r.apply(good)
	r.answers("one")
	if got := r.health(); got != http.StatusOK {
		t.Errorf("health %d while serving", got)
	}
}

func TestSocketsOfAKilledNginxAreOutOfTheWay(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(r.path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"status.sock", "tls.sock"} {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.path("run/" + name)})
		if err != nil {
			t.Fatal(err)
		}
		listener.SetUnlinkOnClose(false)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(r.path("run/tls"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.apply(r.bundle(app(t, "A")))
	r.answers("A")
	if _, err := os.Stat(r.path("run/tls.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old socket is still there: %v", err)
	}
	if _, err := os.Stat(r.path("run/tls")); err != nil {
		t.Errorf("what is no socket was removed: %v", err)
	}
}

func TestAKilledNginxComesBackAndItsRunningRequestsFinish(t *testing.T) {
	r := newRig(t)
	slow, arrived, release := slowApp(t)
	good := r.bundle(slow)
	r.apply(good)
	running := r.getInBackground("demo.local", "/")
	<-arrived
	killed := r.master()
	_, outdated := r.agent.Status()
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-outdated // it has been noticed
	r.eventually("served by another nginx", func() bool {
		status, _ := r.agent.Status()
		return status.BundleVersion == good.Version() && r.master() != killed
	})
	got, err := r.get("nobody.example.com", "/")
	if err != nil || got.status != http.StatusServiceUnavailable {
		t.Errorf("the new nginx answers %+v, %v", got, err)
	}
	release()
	if got := <-running; got.body != "slow" {
		t.Errorf("the request that ran when nginx was killed: %+v", got)
	}
}

func TestNoNewConnectionIsLostAcrossTwentyReloads(t *testing.T) {
	r := newRig(t)
	one, two := app(t, "one"), app(t, "two")
	r.apply(r.bundle(one))
	var requests, lost atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				requests.Add(1)
				if got, err := r.get("demo.local", "/"); err != nil || got.status != http.StatusOK {
					lost.Add(1)
					t.Logf("lost: %+v, %v", got, err)
				}
			}
		})
	}
	for i := range 20 {
		r.apply(r.bundle([]*httptest.Server{one, two}[(i+1)%2]))
	}
	close(stop)
	clients.Wait()
	if lost.Load() > 0 || requests.Load() == 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), requests.Load())
	}
}

func TestAGracefulEndLetsARunningRequestFinish(t *testing.T) {
	r := newRig(t)
	slow, arrived, release := slowApp(t)
	r.apply(r.bundle(slow))
	running := r.getInBackground("demo.local", "/")
	<-arrived
	r.cancel()
	r.eventually("new connections are turned away", func() bool {
		connection, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", r.port))
		if err == nil {
			connection.Close()
		}
		return err != nil
	})
	release()
	if got := <-running; got.body != "slow" {
		t.Errorf("the running request got %+v", got)
	}
	r.stop()
}

func TestAnEndThatTakesTooLongIsForced(t *testing.T) {
	r := newRig(t, func(o *agent.Options) { o.EndTimeout = 200 * time.Millisecond })
	slow, arrived, release := slowApp(t)
	defer release()
	r.apply(r.bundle(slow))
	running := r.getInBackground("demo.local", "/")
	<-arrived
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("the agent ended with: %v", err)
	}
	<-running
}

// spoiled is a copy of a bundle with a piece of its file replaced.
func spoiled(b render.Bundle, old, replacement string) render.Bundle {
	file := b.Files[0]
	file.Content = render.NewContent(bytes.Replace(file.Data(), []byte(old), []byte(replacement), 1))
	return render.Bundle{Files: []render.File{file}, Token: b.Token}
}

func (r *rig) inPlace(b render.Bundle) {
	r.t.Helper()
	data, err := os.ReadFile(b.Files[0].Path)
	if err != nil || !bytes.Equal(data, b.Files[0].Data()) {
		r.t.Errorf("the good bundle's file is not in place: %v", err)
	}
	if left, err := os.ReadDir(r.options.StagingDir); err != nil || len(left) > 0 {
		r.t.Errorf("files of a check were left behind: %v, %v", left, err)
	}
}

func (r *rig) getInBackground(host, path string) <-chan answer {
	result := make(chan answer, 1)
	go func() {
		got, err := r.get(host, path)
		if err != nil {
			got.body = err.Error()
		}
		result <- got
	}()
	return result
}

func (r *rig) health() int {
	recorder := httptest.NewRecorder()
	r.agent.HealthHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	return recorder.Code
}

func TestANginxThatIsKilledHasNotJudgedItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nginx")
	script := "#!/bin/sh\nkill -9 $$\n"
	if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	proxy, err := agentnginx.New(agentnginx.Options{
		Binary: binary, ConfigPath: "/nginx.conf", StatusSocket: filepath.Join(dir, "status.sock"), TempDir: filepath.Join(dir, "temp"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, starting := proxy.Start(t.Context(), "token")
	for what, err := range map[string]error{"a check": proxy.Check(t.Context(), dir), "a start": starting} {
		var refused *agent.Refused
		if err == nil || errors.As(err, &refused) {
			t.Errorf("%s ends with: %v", what, err)
		}
	}
}

func TestABundleCanBeCheckedWithoutBeingServed(t *testing.T) {
	r := newRig(t)
	r.apply(r.bundle(app(t, "one")))
	master := r.master()
	before, _ := r.agent.Status()
	good := r.bundle(app(t, "two"))
	bad := r.bundle(app(t, "three"))
	bad.Files[0].Content = render.NewContent(append([]byte("no_such_directive;\n"), bad.Files[0].Data()...))
	if err := r.agent.Check(t.Context(), good); err != nil {
		t.Errorf("a good bundle: %v", err)
	}
	var refused *agent.Refused
	if err := r.agent.Check(t.Context(), bad); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "no_such_directive") {
		t.Errorf("a bad bundle: %v", err)
	}
	if err := r.agent.Check(t.Context(), render.Bundle{Files: []render.File{{Path: "/etc/passwd", Mode: 0o644}}}); !errors.As(err, &refused) {
		t.Errorf("a bundle for a folder that it may not have: %v", err)
	}
	r.answers("one")
	if after, _ := r.agent.Status(); after != before || r.master() != master {
		t.Errorf("the status was %+v and is %+v", before, after)
	}
}
