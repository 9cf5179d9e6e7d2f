package nginx

import (
	"slices"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// recall finds what of the last plan holds for another table.
type recall struct {
	last        *division // nil: there is none
	credentials render.Credentials
	// changed and stale are the hosts and upstreams that are not as they were.
	changed, stale map[string]bool
	// otherHosts says that any host is another one.
	otherHosts bool
	at         int    // in the last table's hosts: the first that was not passed yet
	turn       uint64 // another one for each plan
}

func newRecall(last *division, t *route.Table, keys *Keyring) *recall {
	if last == nil {
		return &recall{otherHosts: true, turn: 1}
	}
	changes := route.Differences(last.table, t)
	r := &recall{
		last: last, credentials: keys.credentials, changed: make(map[string]bool), stale: make(map[string]bool),
		otherHosts: len(changes.Hosts)+len(changes.GoneHosts) > 0, turn: last.turn + 1,
	}
	for _, h := range changes.Hosts {
		r.changed[h.Name] = true
	}
	for _, u := range changes.Upstreams {
		r.stale[u.Name] = true
	}
	for _, name := range changes.GoneUpstreams {
		r.stale[name] = true
	}
	return r
}

// host returns the plan of a host, and of all that it forwards to, if it is the
// same as it was; else nil. Hosts are asked for in their order.
func (r *recall) host(v *route.VirtualHost) *host {
	if r.last == nil || r.changed[v.Name] {
		return nil
	}
	for r.at < len(r.last.own) && r.last.own[r.at].name < v.Name {
		r.at++
	}
	if r.at == len(r.last.own) || r.last.own[r.at].name != v.Name {
		return nil
	}
	if v.Credential != nil && !r.last.credentials.Alike(r.credentials, v.Name) {
		return nil
	}
	for i := range v.Routes {
		if r.anyStale(v.Routes[i].Forward.Upstreams) {
			return nil
		}
	}
	return r.last.own[r.at]
}

// pool returns the pool of upstreams that are all as they were; nil: it is to be
// made.
func (r *recall) pool(name string, upstreams []string) *pool {
	if r.last == nil || r.anyStale(upstreams) {
		return nil
	}
	for _, p := range r.last.parts[render.PartOf(name, len(r.last.parts))].pools {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (r *recall) anyStale(upstreams []string) bool {
	return len(r.stale) > 0 && slices.ContainsFunc(upstreams, func(name string) bool { return r.stale[name] })
}
