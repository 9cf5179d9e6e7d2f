package route

import "net/netip"

// Drains reports whether a table that takes the place of another one takes an
// endpoint away from anybody. Before may be nil.
func Drains(before, after *Table) bool {
	if before == nil {
		return false
	}
	later := after.Upstreams
	for i := range before.Upstreams {
		u := &before.Upstreams[i]
		for len(later) > 0 && later[0].Name < u.Name {
			later = later[1:]
		}
		var now []Endpoint
		if len(later) > 0 && later[0].Name == u.Name {
			now = later[0].Endpoints
		}
		if lacks(now, u.Endpoints) {
			return true
		}
	}
	return false
}

// lacks reports whether an endpoint of before is not in now.
func lacks(now, before []Endpoint) bool {
	if len(before) == 0 || (len(now) == len(before) && &now[0] == &before[0]) {
		return false
	}
	known := make(map[netip.AddrPort]string, len(now))
	for _, e := range now {
		known[e.Addr] = e.Task
	}
	for _, e := range before {
		if task, there := known[e.Addr]; !there || task != e.Task {
			return true
		}
	}
	return false
}
