package snapshot

import (
	"net/netip"
	"testing"
)

func TestAPortWithANumberForEachFamilyIsTheOneOfTheNodesAddress(t *testing.T) {
	host := func(target, published uint16) Port {
		return Port{Protocol: "tcp", Target: target, Published: published, Mode: PublishHost}
	}
	lists := Lists{Tasks: []Task{{ID: "t", ServiceID: "app", Ports: []Port{host(8080, 32769), host(8080, 32768), host(80, 32770)}}}}
	task := lists.Snapshot(nil).TasksOf("app")[0]
	for node, want := range map[string]uint16{"192.0.2.1": 32769, "::ffff:192.0.2.1": 32769, "2001:db8::1": 32768} {
		if got, ok := task.HostPort(8080, netip.MustParseAddr(node)); !ok || got != want {
			t.Errorf("at %s it is %d, %t, want %d", node, got, ok, want)
		}
	}
}

func TestOnlyATCPPortInHostModeIsAHostPort(t *testing.T) {
	node := netip.MustParseAddr("192.0.2.1")
	for _, p := range []Port{
		{Protocol: "udp", Target: 80, Published: 81, Mode: PublishHost},
		{Protocol: "tcp", Target: 80, Published: 81, Mode: PublishIngress},
		{Protocol: "tcp", Target: 80, Mode: PublishHost},
		{Protocol: "tcp", Target: 8080, Published: 81, Mode: PublishHost},
	} {
		task := Task{Ports: []Port{p}}
		if got, ok := task.HostPort(80, node); ok {
			t.Errorf("%+v is taken for a host port, %d", p, got)
		}
	}
}
