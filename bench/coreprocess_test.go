package bench

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/moby/moby/api/types/swarm"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/core"
	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/material"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/rpc"
)

const (
	// window is how long what a change causes may take.
	window = time.Second
	// windows are how many there are for each figure.
	windows = 20
	// restAfterStart is for what a core that has just been started waits for.
	restAfterStart = 15 * time.Second
)

// coreProcess is the real `interlock run` in a process of its own. It reads a
// large Swarm; its extension and a proxy's agent are in this process.
type coreProcess struct {
	swarm   *swarmOutside
	command *exec.Cmd
	began   time.Time
	first   chan time.Time // when the extension had a table to render first
	agent   *agent.Agent
}

// watching is a renderer that tells that it has something to do.
type watching struct {
	extension.Renderer
	asked func()
}

func (w watching) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	w.asked()
	return w.Renderer.Render(t, p, c)
}

// startCore builds and starts it, and what it creates services for.
func startCore(ctx context.Context, b *testing.B, group *errgroup.Group, kind string) *coreProcess {
	b.Helper()
	folder, err := os.MkdirTemp("", "interlock-core-") // not b.TempDir: it is too long for a socket
	check(b, err)
	b.Cleanup(func() { check(b, os.RemoveAll(folder)) })
	c := &coreProcess{swarm: newSwarmOutside(b), first: make(chan time.Time, 1)}
	c.swarm.kit.Socket = filepath.Join(folder, "control.sock")
	c.swarm.kit.Serve(b, c.swarm.authority)
	c.swarm.serveDocker(b, filepath.Join(folder, "docker.sock"))
	authority, err := pki.NewAuthority(time.Now())
	check(b, err)
	check(b, os.WriteFile(filepath.Join(folder, "authority.pem"), authority.PEM(), 0o600))
	check(b, os.WriteFile(filepath.Join(folder, "config.toml"), []byte(coreConfig(kind, folder, freeAddress(b))), 0o600))

	binary := filepath.Join(folder, "interlock")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/interlock")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	c.command = exec.Command(binary, "run", "--config", filepath.Join(folder, "config.toml"), "--authority", filepath.Join(folder, "authority.pem"),
		"--control-socket", c.swarm.kit.Socket, "--admin", "")
	c.run(b)
	for range 2 {
		select {
		case service := <-c.swarm.created:
			c.deploy(ctx, b, group, kind, folder, service)
		case <-time.After(5 * patience): // of a busy machine
			b.Fatal("the core has not created its services")
		}
	}
	return c
}

// deploy does with a service of the core's what Swarm does: it runs what is in it,
// with the identity and the environment that the core has given it.
func (c *coreProcess) deploy(ctx context.Context, b *testing.B, group *errgroup.Group, kind, folder string, service *swarm.Service) {
	b.Helper()
	container := service.Spec.TaskTemplate.ContainerSpec
	identity, err := pki.NewIdentity(c.swarm.secret(container.Secrets[0].SecretID))
	check(b, err)
	log := slog.New(slog.DiscardHandler)
	if service.Spec.Name == "interlock-proxy" {
		c.agent = newAgent(folder, kind == "native", identity)
		server := rpc.NewAgentServer(rpc.AgentServerOptions{Agent: c.agent, Identity: identity, Health: http.NotFoundHandler(), Logger: log})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(b, err)
		group.Go(func() error { return c.agent.Run(ctx) })
		group.Go(func() error { return server.Serve(ctx, listener) })
		c.swarm.runProxy(b, service, netip.MustParseAddrPort(listener.Addr().String()).Port())
		return
	}
	i := slices.IndexFunc(container.Env, func(e string) bool { return strings.HasPrefix(e, core.EnvCore+"=") })
	client, err := rpc.DialCore(strings.TrimPrefix(container.Env[i], core.EnvCore+"="), identity)
	check(b, err)
	b.Cleanup(func() { check(b, client.Close()) })
	renderer := watching{rendererOf(kind, filepath.Join(folder, "conf", "main")), sync.OnceFunc(func() { c.first <- time.Now() })}
	rendering := extension.New(extension.Options{Core: client, Renderer: renderer, Materials: material.Folder(folder), Identity: identity, Logger: log})
	group.Go(func() error { return rendering.Run(ctx) })
}

// cpu is the time that the process has used, for itself and in the kernel.
func (c *coreProcess) cpu(b *testing.B) time.Duration {
	b.Helper()
	// Of clock_getcpuclockid(3): the time of all threads, in nanoseconds, where
	// /proc counts ticks of ten milliseconds.
	const scheduled = 2
	var spent unix.Timespec
	check(b, unix.ClockGettime(int32(^c.command.Process.Pid<<3|scheduled), &spent))
	return time.Duration(spent.Nano())
}

// during is how much CPU time the process uses in one window that begins with do.
func (c *coreProcess) during(b *testing.B, do func()) time.Duration {
	b.Helper()
	began, before := time.Now(), c.cpu(b)
	do()
	time.Sleep(window - time.Since(began))
	return c.cpu(b) - before
}

// stop has a task told to stop, and waits until the proxy serves that.
func (c *coreProcess) stop(b *testing.B, n int) {
	b.Helper()
	before, _ := c.agent.Status()
	c.swarm.put(b, n, func(t *swarm.Task) { t.DesiredState = swarm.TaskStateShutdown })
	awaitTable(b, c.agent, before.TableVersion)
}

// start has a task run that is starting, and waits until the proxy serves that it does.
func (c *coreProcess) start(b *testing.B, n int) {
	b.Helper()
	before, _ := c.agent.Status()
	c.swarm.put(b, n, func(t *swarm.Task) { t.Status.State = swarm.TaskStateRunning })
	awaitTable(b, c.agent, before.TableVersion)
}

// BenchmarkCoreProcess measures what the core's process needs in a large Swarm:
// until the first table, while nothing changes, and for one task's change.
func BenchmarkCoreProcess(b *testing.B) {
	for _, kind := range []string{"native", "nginx"} {
		b.Run(kind, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var group errgroup.Group
			c := startCore(ctx, b, &group, kind)
			awaitTable(b, c.agent, "")
			served, spent := time.Since(c.began), c.cpu(b)
			time.Sleep(restAfterStart)
			writes := c.swarm.changed()
			var idle, stops, starts []time.Duration
			for b.Loop() {
				for i := range windows {
					n := i * 997 % manyServices * tasksEach
					idle = append(idle, c.during(b, func() {}))
					stops = append(stops, c.during(b, func() { c.stop(b, n) }))
					c.swarm.replace(b, n, swarm.TaskStateStarting)
					c.listen(b, n)
					time.Sleep(window)
					starts = append(starts, c.during(b, func() { c.start(b, n) }))
				}
			}
			if now := c.swarm.changed(); now != writes {
				b.Errorf("the core has written to Swarm %d times because of tasks", now-writes)
			}
			noTimePerOperation(b)
			b.ReportMetric((<-c.first).Sub(c.began).Seconds(), "first-table-s")
			b.ReportMetric(served.Seconds(), "first-served-s")
			b.ReportMetric(spent.Seconds(), "first-served-cpu-s")
			report(b, "idle-cpu", idle)
			report(b, "stop-cpu", stops)
			report(b, "start-cpu", starts)
			c.reportMemory(b)
			cancel()
			check(b, group.Wait())
		})
	}
}

// listen has something accept connections where a task is.
func (c *coreProcess) listen(b *testing.B, n int) {
	b.Helper()
	listener, err := net.Listen("tcp", c.swarm.addressOf(n))
	check(b, err)
	b.Cleanup(func() { check(b, listener.Close()) })
}

func (c *coreProcess) reportMemory(b *testing.B) {
	b.Helper()
	of := process(fmt.Sprintf("/proc/%d", c.command.Process.Pid))
	for name, key := range map[string]string{"rss-MB": "VmRSS", "rss-peak-MB": "VmHWM"} {
		kilobytes, err := of.memory(key)
		check(b, err)
		b.ReportMetric(float64(kilobytes)*1024/1e6, name)
	}
}

// run starts the process, and ends it with the benchmark.
func (c *coreProcess) run(b *testing.B) {
	b.Helper()
	said := new(bytes.Buffer)
	c.command.Stderr = said
	c.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.began = time.Now()
	check(b, c.command.Start())
	b.Cleanup(func() {
		check(b, c.command.Process.Signal(syscall.SIGTERM))
		err := c.command.Wait()
		if err != nil || b.Failed() {
			b.Errorf("the core ended with %v and said:\n%s", err, said)
		}
	})
}

func coreConfig(kind, folder, listen string) string {
	return fmt.Sprintf(`ListenAddr = %q
DockerURL = "unix://%s/docker.sock"
EndpointOverride = %[1]q
[Extensions]
  [Extensions.default]
    Image = "interlock-extension"
    Args = [%q]
    ServiceName = "interlock-ext"
    ProxyImage = "interlock-proxy"
    ProxyServiceName = "interlock-proxy"
    ProxyConfigPath = "%[2]s/conf/main"
    ProxyReplicas = 1
    PublishMode = "host"
    PublishedPort = 80
    TargetPort = 80
`, listen, folder, kind)
}

func freeAddress(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	defer listener.Close()
	return listener.Addr().String()
}
