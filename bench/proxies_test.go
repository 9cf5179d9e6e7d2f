package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

// nativeAddresses makes this program serve as the native proxy: the address to
// listen on, and the apps' addresses.
const nativeAddresses = "INTERLOCK_BENCH_NATIVE"

// serveNative is the native proxy as a process of its own, whose CPU time can
// be told from others'.
func serveNative(addresses string) error {
	list := strings.Split(addresses, ",")
	table := &route.Table{Default: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{"app"}}}}}
	app := route.Upstream{Name: "app"}
	for _, a := range list[1:] {
		app.Endpoints = append(app.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(a)})
	}
	table.Upstreams = []route.Upstream{app}
	limits := proxy.DefaultLimits()
	limits.MaxBody = 0
	server := proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), ProxyID: "bench", ServerInfo: "interlock/bench", Limits: limits})
	if err := server.Swap(table, nil); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", list[0])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return server.Run(ctx, proxy.Entrance{Listener: listener})
}

const (
	proxyRounds   = 5
	proxyDuration = 2 * time.Second
	benchApps     = 3
)

// contender is a proxy that takes part.
type contender struct {
	name, addr string
	pids       []int
	micros     []float64 // CPU time a request, each round
}

// BenchmarkProxiedRequest has nginx and the native proxy take turns with the
// same clients and the same apps, one core each, and prints the CPU time that
// they spend on a request: keep-alive, six header fields, 100 bytes back.
func BenchmarkProxiedRequest(b *testing.B) {
	for _, program := range []string{"nginx", "wrk"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skip(err)
		}
	}
	ports := freePorts(b, benchApps+2)
	apps := ports[:benchApps]
	startNginx(b, appConfiguration(apps))
	nginx := &contender{name: "nginx", addr: ports[benchApps], pids: startNginx(b, proxyConfiguration(ports[benchApps], apps))}
	native := &contender{name: "native", addr: ports[benchApps+1]}
	native.pids = []int{startNative(b, native.addr, apps)}
	for _, connections := range []int{64, 512} {
		nginx.micros, native.micros = nil, nil
		for range b.N * proxyRounds {
			for _, c := range []*contender{nginx, native} {
				c.micros = append(c.micros, c.measure(b, connections))
			}
		}
		compare(b, connections, nginx, native)
	}
}

func compare(b *testing.B, connections int, nginx, native *contender) {
	var ratios []float64
	for i := range nginx.micros {
		ratios = append(ratios, native.micros[i]/nginx.micros[i])
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(out, "%d connections\tµs a request\tratio\n", connections)
	fmt.Fprintf(out, "nginx\t%.1f\t1\n", middle(nginx.micros))
	fmt.Fprintf(out, "native\t%.1f\t%.2f (%.2f to %.2f)\n", middle(native.micros), middle(ratios), slices.Min(ratios), slices.Max(ratios))
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(middle(ratios), fmt.Sprintf("of-nginx/%d", connections))
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

var wrkRequests = regexp.MustCompile(`(\d+) requests in`)

// measure loads the proxy for a while and returns the CPU time of one request.
func (c *contender) measure(b *testing.B, connections int) float64 {
	before := cpuTimeOf(b, c.pids)
	command := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+proxyDuration.String(),
		"-H", "User-Agent: bench/1.0 (a client of usual length)", "-H", "Accept: text/html,application/json;q=0.9,*/*;q=0.8",
		"-H", "Accept-Language: en-GB,en;q=0.5", "-H", "Accept-Encoding: gzip, deflate", "-H", "Cookie: session=0123456789abcdef",
		"http://"+c.addr+"/path/of/usual/length?with=a&query=too")
	out, err := command.CombinedOutput()
	if err != nil {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("Non-2xx")) || bytes.Contains(out, []byte("Socket errors")) {
		b.Fatalf("%s: not all requests were answered:\n%s", c.name, out)
	}
	requests, err := strconv.Atoi(string(wrkRequests.FindSubmatch(out)[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64((cpuTimeOf(b, c.pids) - before).Microseconds()) / float64(requests)
}

// cpuTimeOf is what processes have used so far, for themselves and in the kernel.
func cpuTimeOf(b *testing.B, pids []int) time.Duration {
	total := 0
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		// Behind the name, which may have blanks; fields 14 and 15 of proc(5).
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, err := strconv.Atoi(f)
			if err != nil {
				b.Fatal(err)
			}
			total += ticks
		}
	}
	const tick = 10 * time.Millisecond
	return time.Duration(total) * tick
}

func freePorts(b *testing.B, n int) (addrs []string) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// startNative runs this program as the native proxy, on one core.
func startNative(b *testing.B, addr string, apps []string) int {
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), nativeAddresses+"="+strings.Join(append([]string{addr}, apps...), ","), "GOMAXPROCS=1")
	return start(b, command, addr)
}

// start runs a program until the benchmark ends, and waits until it listens.
func start(b *testing.B, command *exec.Cmd, addr string) int {
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		if err := command.Wait(); err != nil {
			b.Error(err)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		response, err := http.Get("http://" + addr + "/")
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		if err == nil && response.StatusCode == http.StatusOK {
			return command.Process.Pid
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s does not serve: %v", command.Path, err)
		}
	}
}

// configuration is what an nginx does, and where.
type configuration struct{ addr, text string }

const nginxHead = `
worker_processes 1; daemon off; pid %[1]s/pid; error_log stderr error;
events { worker_connections 4096; }
http {
	access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	keepalive_requests 100000000;
`

func appConfiguration(apps []string) configuration {
	text := nginxHead
	for _, a := range apps {
		text += fmt.Sprintf("server { listen %s; location / { return 200 \"%s\"; } }\n", a, strings.Repeat("x", 100))
	}
	return configuration{apps[0], text + "}\n"}
}

// proxyConfiguration has what Interlock's renderer writes for a request.
func proxyConfiguration(addr string, apps []string) configuration {
	text := nginxHead + "upstream app { zone app 64k; keepalive 512; keepalive_requests 100000000; keepalive_timeout 4s;\n"
	for _, a := range apps {
		text += "server " + a + ";\n"
	}
	return configuration{addr, text + fmt.Sprintf(`}
	proxy_http_version 1.1; proxy_redirect off; proxy_next_upstream error timeout;
	proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_set_header X-Real-IP $remote_addr;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
	add_header x-request-id $request_id always; add_header x-proxy-id $hostname always; add_header x-server-info "interlock/bench" always;
	add_header x-upstream-addr $upstream_addr always; add_header x-upstream-response-time $upstream_header_time always;
	server { listen %s default_server; location / { proxy_pass http://app; } }
}
`, addr)}
}

// startNginx returns the process IDs of the master and its worker.
func startNginx(b *testing.B, c configuration) []int {
	dir := b.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, fmt.Appendf(nil, c.text, dir), 0o600); err != nil {
		b.Fatal(err)
	}
	master := start(b, exec.Command("nginx", "-c", path, "-g", "user root;"), c.addr)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	if err != nil {
		b.Fatal(err)
	}
	pids := []int{master}
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
