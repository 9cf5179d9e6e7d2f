package route

import (
	"reflect"
	"strings"
)

// Changes is what one table has otherwise than another one.
type Changes struct {
	// Hosts and Upstreams are those of the later table that the earlier one has
	// not, or not the same; in their order.
	Hosts     []*VirtualHost
	Upstreams []*Upstream
	// GoneHosts and GoneUpstreams are the names of those that the later has not,
	// sorted.
	GoneHosts, GoneUpstreams []string
	// Rest says that the default or what is handed through differs.
	Rest bool
}

// Differences compares two tables. What they share costs next to nothing: it is
// not looked at.
func Differences(before, after *Table) Changes {
	var c Changes
	c.Upstreams, c.GoneUpstreams = difference(before.Upstreams, after.Upstreams, upstreamName, sameUpstream)
	c.Hosts, c.GoneHosts = difference(before.Hosts, after.Hosts, hostName, sameHost)
	c.Rest = !sameList(before.Default, after.Default) && !reflect.DeepEqual(before.Default, after.Default) ||
		!sameList(before.Passthrough, after.Passthrough) && !reflect.DeepEqual(before.Passthrough, after.Passthrough)
	return c
}

// Count is how many hosts and upstreams differ.
func (c *Changes) Count() int {
	return len(c.Hosts) + len(c.Upstreams) + len(c.GoneHosts) + len(c.GoneUpstreams)
}

// difference returns those of after that before has not, or not the same, and the
// names of those that after has not. Both lists are sorted by name.
func difference[T any](before, after []T, name func(*T) string, same func(a, b *T) bool) (changed []*T, gone []string) {
	if sameList(before, after) {
		return nil, nil
	}
	for len(before) > 0 || len(after) > 0 {
		var order int
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = strings.Compare(name(&before[0]), name(&after[0]))
		}
		if order < 0 {
			gone = append(gone, name(&before[0]))
		} else if order > 0 || !same(&before[0], &after[0]) {
			changed = append(changed, &after[0])
		}
		if order <= 0 {
			before = before[1:]
		}
		if order >= 0 {
			after = after[1:]
		}
	}
	return changed, gone
}

func upstreamName(u *Upstream) string { return u.Name }
func hostName(h *VirtualHost) string  { return h.Name }

// sameUpstream and sameHost look at the content only where the parts are not the
// very same.
func sameUpstream(a, b *Upstream) bool {
	shared := a.TLS == b.TLS && a.HTTP2 == b.HTTP2 && a.Weight == b.Weight && a.MaxFails == b.MaxFails && a.FailTimeout == b.FailTimeout && sameList(a.Endpoints, b.Endpoints)
	return shared || reflect.DeepEqual(a, b)
}

func sameHost(a, b *VirtualHost) bool {
	shared := a.Credential == b.Credential && sameList(a.Routes, b.Routes) && sameList(a.Redirects, b.Redirects)
	return shared || reflect.DeepEqual(a, b)
}
