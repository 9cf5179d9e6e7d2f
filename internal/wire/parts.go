package wire

import (
	"errors"
	"slices"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

// Part is some hosts and upstreams of a table, each sorted by name. What its hosts
// forward to may be in other parts.
type Part struct {
	Hosts     []route.VirtualHost
	Upstreams []route.Upstream
}

// PartMessage is a part as it is written down.
func PartMessage(p *Part) *interlockv1.NativePart {
	message := &interlockv1.NativePart{}
	for i := range p.Hosts {
		message.Hosts = append(message.Hosts, hostMessage(&p.Hosts[i]))
	}
	for i := range p.Upstreams {
		message.Upstreams = append(message.Upstreams, upstreamMessage(&p.Upstreams[i]))
	}
	return message
}

// ReadPart reads a part. It fails, saying what is wrong with what, unless the part
// is one of a table that keeps all that route.Table promises.
func ReadPart(message *interlockv1.NativePart) (*Part, error) {
	var p Part
	var err error
	if p.Upstreams, err = readUpstreams(message.GetUpstreams()); err != nil {
		return nil, err
	}
	p.Hosts, err = readHosts(message.GetHosts(), nil)
	return &p, err
}

// Exchange makes of a table that some parts were of the one that others are of in
// their place. It checks what [Table] does, and shares what did not change; before
// stays as it is.
func Exchange(before *route.Table, gone, come []*Part, rest *interlockv1.TableRest) (*route.Table, error) {
	old, err := gathered(gone)
	if err != nil {
		return nil, err
	}
	next, err := gathered(come)
	if err != nil {
		return nil, err
	}
	changes := route.Differences(old, next)
	a := alteration{
		hosts: valuesOf(changes.Hosts), upstreams: valuesOf(changes.Upstreams),
		goneHosts: changes.GoneHosts, goneUpstreams: changes.GoneUpstreams, rest: rest,
	}
	t, err := a.of(before)
	if err != nil {
		return nil, err
	}
	// A host that comes with one part while another one has it too has taken its
	// place, and would go with either.
	if len(t.Hosts) != len(before.Hosts)-len(old.Hosts)+len(next.Hosts) || len(t.Upstreams) != len(before.Upstreams)-len(old.Upstreams)+len(next.Upstreams) {
		return nil, errors.New("two parts have the same host or upstream")
	}
	return t, nil
}

// gathered is what all the parts have together.
func gathered(parts []*Part) (*route.Table, error) {
	t := &route.Table{}
	for _, p := range parts {
		t.Hosts, t.Upstreams = append(t.Hosts, p.Hosts...), append(t.Upstreams, p.Upstreams...)
	}
	slices.SortFunc(t.Hosts, func(a, b route.VirtualHost) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Upstreams, func(a, b route.Upstream) int { return strings.Compare(a.Name, b.Name) })
	if err := ascending("upstream", t.Upstreams, func(u route.Upstream) string { return u.Name }); err != nil {
		return nil, err
	}
	return t, ascending("host", t.Hosts, func(h route.VirtualHost) string { return h.Name })
}

func valuesOf[T any](list []*T) []T {
	values := make([]T, len(list))
	for i := range list {
		values[i] = *list[i]
	}
	return values
}
