package nginx

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkLookingForSilentPeers is one round beside clients' connections and ones to
// apps, whose other ends are in the same table here, unlike in a container. cpu-ns is
// what it costs, however busy the machine is.
func BenchmarkLookingForSilentPeers(b *testing.B) {
	const clients, apps = 8000, 800 // within a usual limit of open files
	kernel, err := openSockets()
	if err != nil {
		b.Skip(err)
	}
	open(b, "127.0.0.1:20081", clients, 1100) // as clients' ports, not those of connections that were opened here
	open(b, "127.0.0.1:20082", apps, 0)
	peers := make(quietPeers)
	p := &process{}
	before := cpuTime(b)
	rounds := 0
	for b.Loop() {
		if err := p.endSilentOnce(kernel, peers); err != nil {
			b.Fatal(err)
		}
		rounds++
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(rounds), "cpu-ns/op")
}

func cpuTime(b *testing.B) int64 {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

// open opens that many connections to a listener of its own, from a port and those
// after it that are free; 0: any.
func open(b *testing.B, address string, count, from int) {
	b.Helper()
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	port := from
	for opened := 0; opened < count; port++ {
		if from == 0 {
			port = 0
		}
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: port}}
		c, err := dialer.DialContext(b.Context(), "tcp4", address)
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		accepted, err := listener.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { accepted.Close() })
		opened++
	}
}
