package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/fixture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a real Docker Engine of a test's own: its own folder, its own
// network, mount and process namespaces. It ends with its first process, and
// that one with the test's, however that ends.
type engine struct {
	url string
	api *client.Client // to do what an operator does
}

const testImage = "interlock-test:idle"

// startEngine starts an engine that is part of no Swarm.
func startEngine(t *testing.T) *engine {
	t.Helper()
	fixture.NeedRoot(t, "an engine of its own")
	fixture.Program(t, "dockerd")
	// Not t.TempDir: the path of a unix socket is limited to 108 bytes.
	dir, err := os.MkdirTemp("", "interlock-docker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	group := filepath.Base(dir) // of the containers' cgroups
	t.Cleanup(func() { removeCgroups(t, group) })
	startDockerd(t, dir, group)

	e := &engine{url: "unix://" + dir + "/docker.sock"}
	e.api, err = client.New(client.WithHost(e.url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.api.Close() })
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err = e.api.Ping(t.Context(), client.PingOptions{}); err == nil {
			return e
		}
		if time.Now().After(until) {
			t.Fatalf("dockerd does not answer: %v", err)
		}
	}
}

// inNamespaces prepares the mounts of a namespace that nobody else sees, and
// becomes the engine.
const inNamespaces = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind "$0/run" /run
ip link set lo up
exec dockerd --host "unix://$0/docker.sock" --data-root "$0/data" --exec-root /run/docker \
	--pidfile /run/docker.pid --cgroup-parent "$1" --log-level warn`

func startDockerd(t *testing.T, dir, group string) {
	t.Helper()
	for _, sub := range []string{"run", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	words, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	dockerd := exec.Command("/bin/sh", "-c", inNamespaces, dir, group)
	dockerd.Stdout, dockerd.Stderr = words, words
	dockerd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := dockerd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dockerd.Process.Kill() // and with it all in its process namespace
		_ = dockerd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(words.Name())
			t.Log("dockerd said:\n" + string(said))
		}
	})
}

// removeCgroups removes what a killed engine leaves of its containers: a folder
// in each hierarchy of cgroup v1, or in the one of v2.
func removeCgroups(t *testing.T, group string) {
	const root = "/sys/fs/cgroup/"
	hierarchies, _ := filepath.Glob(root + "*/" + group)
	for _, folder := range append(hierarchies, root+group) {
		containers, _ := os.ReadDir(folder) // none where there is no such folder
		for _, container := range containers {
			if container.IsDir() {
				_ = os.Remove(filepath.Join(folder, container.Name()))
			}
		}
		if err := os.Remove(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Log("a cgroup is left behind:", err)
		}
	}
}

// initSwarm makes the engine a Swarm of its own.
func (e *engine) initSwarm(t *testing.T) {
	t.Helper()
	_, err := e.api.SwarmInit(t.Context(), client.SwarmInitOptions{
		ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1",
		DefaultAddrPool: []netip.Prefix{netip.MustParsePrefix("10.201.0.0/16")}, SubnetSize: 24,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// loadImage gives the engine an image whose only program sleeps.
func (e *engine) loadImage(t *testing.T) {
	t.Helper()
	archive := new(bytes.Buffer)
	w := tar.NewWriter(archive)
	for _, path := range append(librariesOf(t, "/bin/sleep"), "/bin/sleep") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		header := &tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o755, Size: int64(len(content))}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	answer, err := e.api.ImageImport(t.Context(),
		client.ImageImportSource{Source: archive, SourceName: "-"}, testImage,
		client.ImageImportOptions{Changes: []string{`ENTRYPOINT ["/bin/sleep"]`, `CMD ["1000"]`}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		t.Fatal(err)
	}
}

func librariesOf(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, field := range strings.Fields(string(out)) {
		if strings.HasPrefix(field, "/") {
			paths = append(paths, field)
		}
	}
	return paths
}

// eventually calls probe until it says nothing, which it must within a minute.
func eventually(t *testing.T, probe func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := probe(ctx)
	for ; err != nil; err = probe(ctx) {
		if !sleep(ctx, 100*time.Millisecond) {
			t.Fatal(fmt.Errorf("still not so after a minute: %w", err))
		}
	}
}
