package native

import (
	"slices"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// division is a table in parts.
type division struct {
	table       *route.Table
	credentials render.Credentials
	parts       []part
	keys        []render.File // of all parts, sorted
}

// part is a file with some hosts and upstreams.
type part struct {
	file render.File   // without a path: nobody is in it
	keys []render.File // that its hosts need, sorted
}

// divide makes the parts of a table, and carries over those of the last one in
// which nothing has changed.
func (m *Memory) divide(t *route.Table, c render.Credentials, count int) (*division, error) {
	last := m.last
	// Nothing that was left half done is ever built on, not even after a panic.
	m.last = nil
	if last == nil || len(last.parts) != count {
		last = &division{table: &route.Table{}, parts: make([]part, count)}
	}
	d := &division{table: t, credentials: c, parts: slices.Clone(last.parts), keys: last.keys}
	otherKeys := false
	for i, content := range last.outdated(d) {
		if content == nil {
			continue
		}
		made, err := m.Renderer.part(content, c)
		if err != nil {
			m.last = last
			return nil, err
		}
		otherKeys = otherKeys || !slices.EqualFunc(made.keys, d.parts[i].keys, func(a, b render.File) bool { return a.Path == b.Path })
		d.parts[i] = made
	}
	if otherKeys {
		d.keys = nil
		for i := range d.parts {
			d.keys = append(d.keys, d.parts[i].keys...)
		}
		d.keys = distinct(d.keys)
	}
	m.last = d
	return d, nil
}

// outdated is what has to be in those parts in which something changes until the
// next division; nil for the others.
func (d *division) outdated(next *division) []*wire.Part {
	count := len(d.parts)
	list := make([]*wire.Part, count)
	mark := func(name string) {
		if i := render.PartOf(name, count); list[i] == nil {
			list[i] = &wire.Part{}
		}
	}
	changes := route.Differences(d.table, next.table)
	for _, h := range changes.Hosts {
		mark(h.Name)
	}
	for _, u := range changes.Upstreams {
		mark(u.Name)
	}
	for _, name := range slices.Concat(changes.GoneHosts, changes.GoneUpstreams) {
		mark(name)
	}
	for i := range next.table.Hosts {
		if h := &next.table.Hosts[i]; h.Credential != nil && !d.credentials.Alike(next.credentials, h.Name) {
			mark(h.Name)
		}
	}
	for i := range next.table.Hosts {
		h := &next.table.Hosts[i]
		if p := list[render.PartOf(h.Name, count)]; p != nil {
			p.Hosts = append(p.Hosts, *h)
		}
	}
	for i := range next.table.Upstreams {
		u := &next.table.Upstreams[i]
		if p := list[render.PartOf(u.Name, count)]; p != nil {
			p.Upstreams = append(p.Upstreams, *u)
		}
	}
	return list
}

// part makes the file of one part.
func (r *Renderer) part(content *wire.Part, c render.Credentials) (made part, err error) {
	if len(content.Hosts)+len(content.Upstreams) == 0 {
		return part{}, nil
	}
	message := wire.PartMessage(content)
	message.Certificates, made.keys = r.certificates(content.Hosts, c)
	if made.file, err = r.file("", message); err != nil {
		return part{}, err
	}
	made.file.Path = partPath(withDefault(r.File, File), made.file.Hash())
	return made, nil
}

// message names the parts, in their order.
func (d *division) message() *interlockv1.NativeParts {
	message := &interlockv1.NativeParts{Rest: wire.RestMessage(d.table), Hashes: make([][]byte, 0, len(d.parts))}
	for i := range d.parts {
		if d.parts[i].file.Path == "" {
			continue
		}
		hash := d.parts[i].file.Hash()
		message.Hashes = append(message.Hashes, hash[:])
	}
	return message
}

func (d *division) files() []render.File {
	var files []render.File
	for i := range d.parts {
		if d.parts[i].file.Path != "" {
			files = append(files, d.parts[i].file)
		}
	}
	slices.SortFunc(files, byPath)
	return files
}
