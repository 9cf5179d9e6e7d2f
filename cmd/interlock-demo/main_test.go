package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits that a working app ends at once.
const patience = 20 * time.Second

// demo is the app, run as the command runs it.
type demo struct {
	address string
	stop    context.CancelFunc // what SIGTERM does
	ended   chan error
	active  chan struct{} // one for each request begun; only serve fills it
}

// start runs the app with the given environment and flags on a free port.
func start(t *testing.T, env map[string]string, args ...string) *demo {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	output, stdout := io.Pipe()
	d := &demo{stop: stop, ended: make(chan error, 1)}
	go func() {
		err := run(ctx, append([]string{"--listen=127.0.0.1:0"}, args...), lookup(env), stdout)
		stdout.CloseWithError(io.EOF)
		d.ended <- err
	}()
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		stop()
		t.Fatalf("the app said nothing and ended: %v", <-d.ended)
	}
	d.address = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(lines.Text())
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, output)
	}()
	t.Cleanup(func() {
		stop()
		<-drained
		http.DefaultClient.CloseIdleConnections()
	})
	return d
}

func lookup(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// get asks the app and returns the answer with its whole body.
func (d *demo) get(t *testing.T, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// end waits for the app to end and returns its error.
func (d *demo) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-d.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the app did not end")
		return nil
	}
}

func TestTheAppNamesItselfAfterItsContainer(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	_, body := start(t, nil).get(t, "/ping", nil)
	if want := `"instance":"` + hostname + `"`; !strings.Contains(body, want) {
		t.Errorf("/ping answered %s, which lacks %s", body, want)
	}
}

func TestVersionAndMetadataComeFromTheEnvironment(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		want string
	}{
		"absent": {nil, `"version":"0.1","metadata":""`},
		"given":  {map[string]string{"VERSION": "2.0", "METADATA": "blue"}, `"version":"2.0","metadata":"blue"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, body := start(t, test.env).get(t, "/ping", nil)
			if !strings.Contains(body, test.want) {
				t.Errorf("/ping answered %s, which lacks %s", body, test.want)
			}
		})
	}
}

func TestMistakesInTheCommandLineAreNamed(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
		code int
	}{
		"unknown flag":            {[]string{"--colour"}, "-colour", exitUsage},
		"an argument":             {[]string{"serve"}, `unexpected argument "serve"`, exitUsage},
		"a key without a cert":    {[]string{"--tls-key=k.pem"}, "--tls-key needs --tls-cert", exitUsage},
		"a cert without a key":    {[]string{"--tls-cert=c.pem"}, "--tls-cert needs --tls-key", exitUsage},
		"files that are missing":  {[]string{"--tls-cert=no.pem", "--tls-key=no.pem"}, "no.pem", exitFailure},
		"an address that is none": {[]string{"--listen=nowhere"}, "nowhere", exitFailure},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := exitCode(run(t.Context(), test.args, lookup(nil), io.Discard), &stderr)
			if code != test.code || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit %d and %q, want %d and a message with %q", code, stderr.String(), test.code, test.want)
			}
		})
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var stdout bytes.Buffer
	code := exitCode(run(t.Context(), []string{"--help"}, lookup(nil), &stdout), io.Discard)
	if code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
	for _, flag := range []string{"-listen", "-tls-cert", "-tls-key", "METADATA"} {
		if !strings.Contains(stdout.String(), flag) {
			t.Errorf("the help does not mention %s:\n%s", flag, stdout.String())
		}
	}
}

func TestAPortInUseEndsTheApp(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(t.Context(), []string{"--listen=" + taken.Addr().String()}, lookup(nil), io.Discard)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("the app ended with %v, want an error that names %s", err, taken.Addr())
	}
}

func TestAnAppThatStartsSlowlyServesNobodyBefore(t *testing.T) {
	const wait = 200 * time.Millisecond
	began := time.Now()
	start(t, nil, "--listen-after="+wait.String())
	if took := time.Since(began); took < wait {
		t.Errorf("it served after %s, want %s", took, wait)
	}
}
