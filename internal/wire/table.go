package wire

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

// TableMessage is a table as it travels.
func TableMessage(t *route.Table) *interlockv1.Table {
	message := &interlockv1.Table{
		Hosts:     make([]*interlockv1.VirtualHost, 0, len(t.Hosts)),
		Default:   forwardMessage(t.Default),
		Upstreams: make([]*interlockv1.Upstream, 0, len(t.Upstreams)),
	}
	for i := range t.Hosts {
		host := &interlockv1.VirtualHost{Name: t.Hosts[i].Name}
		for _, r := range t.Hosts[i].Routes {
			host.Routes = append(host.Routes, &interlockv1.Route{PathPrefix: r.PathPrefix, Forward: forwardMessage(&r.Forward)})
		}
		message.Hosts = append(message.Hosts, host)
	}
	for i := range t.Upstreams {
		upstream := &interlockv1.Upstream{Name: t.Upstreams[i].Name}
		for _, e := range t.Upstreams[i].Endpoints {
			upstream.Endpoints = append(upstream.Endpoints, &interlockv1.Endpoint{Address: e.Addr.String(), Task: e.Task})
		}
		message.Upstreams = append(message.Upstreams, upstream)
	}
	return message
}

func forwardMessage(f *route.Forward) *interlockv1.Forward {
	if f == nil {
		return nil
	}
	return &interlockv1.Forward{Upstreams: f.Upstreams}
}

// Table reads a table. It fails, saying what is wrong with which part, unless
// the table keeps all that route.Table promises.
func Table(message *interlockv1.Table) (*route.Table, error) {
	if message == nil {
		return nil, errors.New("there is no table in the message")
	}
	t := &route.Table{}
	for _, m := range message.GetUpstreams() {
		upstream, err := readUpstream(m)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", m.GetName(), err)
		}
		t.Upstreams = append(t.Upstreams, upstream)
	}
	if err := ascending("upstream", t.Upstreams, func(u route.Upstream) string { return u.Name }); err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(t.Upstreams))
	for i := range t.Upstreams {
		known[t.Upstreams[i].Name] = true
	}
	for _, m := range message.GetHosts() {
		host, err := readHost(m, known)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", m.GetName(), err)
		}
		t.Hosts = append(t.Hosts, host)
	}
	if err := ascending("host", t.Hosts, func(h route.VirtualHost) string { return h.Name }); err != nil {
		return nil, err
	}
	if message.GetDefault() != nil {
		forward, err := readForward(message.GetDefault(), known)
		if err != nil {
			return nil, fmt.Errorf("the default: %w", err)
		}
		t.Default = &forward
	}
	return t, nil
}

func readUpstream(message *interlockv1.Upstream) (route.Upstream, error) {
	upstream := route.Upstream{Name: message.GetName(), Endpoints: make([]route.Endpoint, 0, len(message.GetEndpoints()))}
	if upstream.Name == "" {
		return upstream, errors.New("it has no name")
	}
	for _, m := range message.GetEndpoints() {
		addr, err := readAddress(m.GetAddress())
		if err != nil {
			return upstream, fmt.Errorf("endpoint of task %q: %w", m.GetTask(), err)
		}
		upstream.Endpoints = append(upstream.Endpoints, route.Endpoint{Addr: addr, Task: m.GetTask()})
	}
	for i := 1; i < len(upstream.Endpoints); i++ {
		if compareEndpoints(upstream.Endpoints[i-1], upstream.Endpoints[i]) >= 0 {
			return upstream, fmt.Errorf("endpoint %s stands twice, or after a greater one: the list must be sorted", upstream.Endpoints[i].Addr)
		}
	}
	return upstream, nil
}

func compareEndpoints(a, b route.Endpoint) int {
	return cmp.Or(a.Addr.Compare(b.Addr), strings.Compare(a.Task, b.Task))
}

func readAddress(text string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(text)
	if err != nil || addr.String() != text || addr.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not IP:PORT with a port from 1 to 65535, IPv6 in brackets", text)
	}
	return addr, nil
}

func readHost(message *interlockv1.VirtualHost, known map[string]bool) (route.VirtualHost, error) {
	host := route.VirtualHost{Name: message.GetName()}
	if host.Name == "" {
		return host, errors.New("it has no name")
	}
	if len(message.GetRoutes()) == 0 {
		return host, errors.New("it has no route")
	}
	seen := make(map[string]bool, len(message.GetRoutes()))
	for i, m := range message.GetRoutes() {
		prefix := m.GetPathPrefix()
		if !strings.HasPrefix(prefix, "/") {
			return host, fmt.Errorf("path prefix %q does not begin with /", prefix)
		}
		if seen[prefix] {
			return host, fmt.Errorf("path prefix %q stands there twice", prefix)
		}
		seen[prefix] = true
		if i > 0 && len(prefix) > len(host.Routes[i-1].PathPrefix) {
			return host, fmt.Errorf("path prefix %q stands after the shorter %q: the longest comes first", prefix, host.Routes[i-1].PathPrefix)
		}
		forward, err := readForward(m.GetForward(), known)
		if err != nil {
			return host, fmt.Errorf("path prefix %q: %w", prefix, err)
		}
		host.Routes = append(host.Routes, route.Route{PathPrefix: prefix, Forward: forward})
	}
	return host, nil
}

func readForward(message *interlockv1.Forward, known map[string]bool) (route.Forward, error) {
	forward := route.Forward{Upstreams: message.GetUpstreams()}
	if len(forward.Upstreams) == 0 {
		return forward, errors.New("it forwards to nobody")
	}
	for _, name := range forward.Upstreams {
		if !known[name] {
			return forward, fmt.Errorf("there is no upstream %q", name)
		}
	}
	return forward, ascending("upstream", forward.Upstreams, identity)
}
