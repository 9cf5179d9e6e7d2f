package bench

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// BenchmarkNginxChange has an agent take bundles that differ in one endpoint: CPU time
// of the agent and of all of nginx's processes, and the time until the new one alone is
// in effect. Rendering is not in it.
func BenchmarkNginxChange(b *testing.B) {
	for _, hosts := range []int{10, 2_000, 10_000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) { changeEndpoints(b, hosts) })
	}
}

func changeEndpoints(b *testing.B, hosts int) {
	dir := shortDir(b)
	proxy, renderer, config := nginxBelow(b, dir)
	a := runAgent(b, dir, proxy)
	parameters := parameters(freePort(b), filepath.Join(dir, "etc/nginx.conf"), config)
	table := manyHosts(hosts)
	var cpu, clock time.Duration
	change := func(i int) {
		table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(9000+i%2))}}
		bundle, err := renderer.Render(table, parameters, nil)
		check(b, err)
		beganCPU, began := withNginx(b, dir), time.Now()
		check(b, a.Apply(b.Context(), bundle, strconv.Itoa(i)))
		clock += time.Since(began)
		cpu += withNginx(b, dir) - beganCPU
	}
	change(1)
	cpu, clock = 0, 0
	count := 0
	for b.Loop() {
		change(count)
		count++
	}
	noTimePerOperation(b)
	b.ReportMetric(milliseconds(cpu)/float64(count), "cpu-ms/change")
	b.ReportMetric(milliseconds(clock)/float64(count), "ms/change")
}

func manyHosts(n int) *route.Table {
	table := &route.Table{}
	for i := range n {
		name := fmt.Sprintf("app-%05d", i)
		table.Hosts = append(table.Hosts, route.VirtualHost{
			Name: name + ".example.com", Routes: []route.Route{{PathPrefix: "/", Forward: route.Forward{Upstreams: []string{name}}}},
		})
		upstream := route.Upstream{Name: name}
		for port := range uint16(3) {
			upstream.Endpoints = append(upstream.Endpoints, route.Endpoint{Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 9000+port)})
		}
		table.Upstreams = append(table.Upstreams, upstream)
	}
	return table
}

// withNginx is the CPU time of this process, of all that it has started and that has
// ended, and of the nginx below a folder, with its workers that have ended: those that
// are there are as many before a change as after it.
func withNginx(b *testing.B, dir string) time.Duration {
	var ended syscall.Rusage
	check(b, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ended))
	return cpuTime() + time.Duration(ended.Utime.Nano()+ended.Stime.Nano()) + masterTime(b, dir)
}

// masterTime is 0 while no nginx runs.
func masterTime(b *testing.B, dir string) time.Duration {
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
	check(b, err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	ticks := 0
	for _, field := range fields[11:15] { // user and system, its own and its children's
		n, err := strconv.Atoi(string(field))
		check(b, err)
		ticks += n
	}
	return time.Duration(ticks) * tick
}
