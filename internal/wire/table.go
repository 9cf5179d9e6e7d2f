package wire

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

// TableMessage is a table as it travels.
func TableMessage(t *route.Table) *interlockv1.Table {
	message := &interlockv1.Table{
		Hosts:         make([]*interlockv1.VirtualHost, 0, len(t.Hosts)),
		DefaultRoutes: routeMessages(t.Default),
		Upstreams:     make([]*interlockv1.Upstream, 0, len(t.Upstreams)),
	}
	for i := range t.Hosts {
		message.Hosts = append(message.Hosts, hostMessage(&t.Hosts[i]))
	}
	message.Passthrough = passthroughMessages(t.Passthrough)
	for i := range t.Upstreams {
		message.Upstreams = append(message.Upstreams, upstreamMessage(&t.Upstreams[i]))
	}
	return message
}

func hostMessage(h *route.VirtualHost) *interlockv1.VirtualHost {
	message := &interlockv1.VirtualHost{Name: h.Name, Routes: routeMessages(h.Routes), Credential: credentialMessage(h.Credential)}
	for _, r := range h.Redirects {
		message.Redirects = append(message.Redirects, &interlockv1.Redirect{Scheme: r.Scheme, Target: r.Target})
	}
	return message
}

func passthroughMessages(list []route.Passthrough) []*interlockv1.Passthrough {
	var messages []*interlockv1.Passthrough
	for i := range list {
		p := &list[i]
		messages = append(messages, &interlockv1.Passthrough{Name: p.Name, Forward: forwardMessage(&p.Forward), RedirectPlain: p.RedirectPlain})
	}
	return messages
}

func routeMessages(routes []route.Route) []*interlockv1.Route {
	var messages []*interlockv1.Route
	for i := range routes {
		r := &routes[i]
		messages = append(messages, &interlockv1.Route{
			PathPrefix: r.PathPrefix, Rewrite: r.Rewrite, Websockets: r.Websockets, TlsOnly: r.TLSOnly, Forward: forwardMessage(&r.Forward),
		})
	}
	return messages
}

func forwardMessage(f *route.Forward) *interlockv1.Forward {
	message := &interlockv1.Forward{Upstreams: f.Upstreams}
	for number, balance := range balances {
		if balance == f.Balance {
			message.Balance = number
		}
	}
	switch {
	case f.Affinity.Cookie != "":
		message.Affinity = &interlockv1.Forward_Cookie{Cookie: f.Affinity.Cookie}
	case f.Affinity.ClientAddress:
		message.Affinity = &interlockv1.Forward_ClientAddress{ClientAddress: true}
	}
	return message
}

func upstreamMessage(u *route.Upstream) *interlockv1.Upstream {
	message := &interlockv1.Upstream{Name: u.Name, Http2: u.HTTP2}
	if u.TLS != nil {
		message.Tls = &interlockv1.TLS{}
		for number, verify := range verifies {
			if verify == u.TLS.Verify {
				message.Tls.Verify = number
			}
		}
	}
	if u.Weight != nil {
		n := uint32(*u.Weight)
		message.Weight = &n
	}
	if u.MaxFails != nil {
		n := uint32(*u.MaxFails)
		message.MaxFails = &n
	}
	if u.FailTimeout != 0 {
		message.FailTimeout = durationpb.New(u.FailTimeout)
	}
	for _, e := range u.Endpoints {
		message.Endpoints = append(message.Endpoints, &interlockv1.Endpoint{Address: e.Addr.String(), Task: e.Task})
	}
	return message
}

// Table reads a table. It fails, saying what is wrong with which part, unless
// the table keeps all that route.Table promises.
func Table(message *interlockv1.Table) (*route.Table, error) {
	if message == nil {
		return nil, errors.New("there is no table in the message")
	}
	t := &route.Table{}
	var err error
	if t.Upstreams, err = readUpstreams(message.GetUpstreams()); err != nil {
		return nil, err
	}
	known := byName(t.Upstreams)
	if t.Hosts, err = readHosts(message.GetHosts(), known); err != nil {
		return nil, err
	}
	if err := readPassthroughs(t, message.GetPassthrough(), known); err != nil {
		return nil, err
	}
	if t.Default, err = readRoutes(message.GetDefaultRoutes(), known); err != nil {
		return nil, fmt.Errorf("the default: %w", err)
	}
	return t, nil
}

func readUpstreams(messages []*interlockv1.Upstream) ([]route.Upstream, error) {
	var list []route.Upstream
	for _, m := range messages {
		upstream, err := readUpstream(m)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", m.GetName(), err)
		}
		list = append(list, upstream)
	}
	return list, ascending("upstream", list, func(u route.Upstream) string { return u.Name })
}

// byName finds each upstream.
func byName(upstreams []route.Upstream) map[string]*route.Upstream {
	known := make(map[string]*route.Upstream, len(upstreams))
	for i := range upstreams {
		known[upstreams[i].Name] = &upstreams[i]
	}
	return known
}

func readHosts(messages []*interlockv1.VirtualHost, known map[string]*route.Upstream) ([]route.VirtualHost, error) {
	var list []route.VirtualHost
	for _, m := range messages {
		host, err := readHost(m, known)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", m.GetName(), err)
		}
		list = append(list, host)
	}
	return list, ascending("host", list, func(h route.VirtualHost) string { return h.Name })
}

func readUpstream(message *interlockv1.Upstream) (route.Upstream, error) {
	upstream := route.Upstream{Name: message.GetName(), HTTP2: message.GetHttp2(), Endpoints: make([]route.Endpoint, 0, len(message.GetEndpoints()))}
	if upstream.Name == "" {
		return upstream, errors.New("it has no name")
	}
	if message.Weight != nil {
		if message.GetWeight() > route.MaxWeight {
			return upstream, fmt.Errorf("weight %d is more than %d", message.GetWeight(), route.MaxWeight)
		}
		n := int(message.GetWeight())
		upstream.Weight = &n
	}
	if err := readHealth(&upstream, message); err != nil {
		return upstream, err
	}
	if message.GetTls() != nil {
		verify, known := verifies[message.GetTls().GetVerify()]
		if !known {
			return upstream, fmt.Errorf("TLS: there is no verification %s", message.GetTls().GetVerify())
		}
		upstream.TLS = &route.TLS{Verify: verify}
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

// What an operator may reasonably want lies far below these; they keep every
// number in the range of the types that it passes through.
const (
	maxFails       = 1_000_000
	maxFailTimeout = 24 * time.Hour
)

func readHealth(upstream *route.Upstream, message *interlockv1.Upstream) error {
	if message.MaxFails != nil {
		if message.GetMaxFails() > maxFails {
			return fmt.Errorf("max_fails %d is more than %d", message.GetMaxFails(), maxFails)
		}
		n := int(message.GetMaxFails())
		upstream.MaxFails = &n
	}
	if message.GetFailTimeout() != nil {
		if err := message.GetFailTimeout().CheckValid(); err != nil {
			return fmt.Errorf("fail_timeout: %w", err)
		}
		d := message.GetFailTimeout().AsDuration()
		if d < time.Second || d > maxFailTimeout || d%time.Second != 0 {
			return fmt.Errorf("fail_timeout %s is not whole seconds from 1s to %s", d, maxFailTimeout)
		}
		upstream.FailTimeout = d
	}
	return nil
}

var verifies = map[interlockv1.TLS_Verify]route.Verify{
	interlockv1.TLS_VERIFY_UNSPECIFIED: route.VerifyDefault,
	interlockv1.TLS_VERIFY_NONE:        route.VerifyNone,
	interlockv1.TLS_VERIFY_REQUIRED:    route.VerifyRequired,
}

var balances = map[interlockv1.Forward_Balance]route.Balance{
	interlockv1.Forward_BALANCE_UNSPECIFIED: route.BalanceDefault,
	interlockv1.Forward_BALANCE_ROUND_ROBIN: route.BalanceRoundRobin,
	interlockv1.Forward_BALANCE_LEAST_CONN:  route.BalanceLeastConn,
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
