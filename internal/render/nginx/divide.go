package nginx

import (
	"fmt"
	"path"
	"slices"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// division is a plan in parts, with what it was made of.
type division struct {
	table       *route.Table
	parameters  render.Parameters
	credentials render.Credentials
	own         []*host // of the table's hosts, in their order
	turn        uint64
	frame       frame
	parts       []part
}

// frame is what the text of all parts depends on, besides the parameters.
type frame struct {
	severalCertificates, passthrough, trusts, trustsHTTP2 bool
}

// part is some pools and hosts. Its files have no path where nothing is in them.
type part struct {
	pools   []*pool // as they were met
	hosts   []*host // sorted by name
	servers render.File
	names   render.File // which certificates the hosts have
}

// partsDir is beside the main file.
const partsDir = "parts"

func newDivision(t *route.Table, p render.Parameters, c render.Credentials, plan *plan, count int) *division {
	d := &division{table: t, parameters: p, credentials: c, own: plan.own, turn: plan.turn, parts: make([]part, count)}
	for _, pool := range plan.pools {
		at := &d.parts[render.PartOf(pool.name, count)]
		at.pools = append(at.pools, pool)
	}
	for _, h := range plan.hosts {
		at := &d.parts[render.PartOf(h.name, count)]
		at.hosts = append(at.hosts, h)
	}
	return d
}

// files are those of all parts; d may be nil.
func (d *division) files() (list []render.File) {
	if d == nil {
		return nil
	}
	for i := range d.parts {
		for _, file := range []render.File{d.parts[i].servers, d.parts[i].names} {
			if file.Path != "" {
				list = append(list, file)
			}
		}
	}
	return list
}

// includeParts writes the parts that are not as they were, and names all of them.
func (f *file) includeParts() {
	d := f.division
	d.frame = frame{f.plan.severalCertificates, len(f.plan.passthrough) > 0, f.trusts, f.trustsHTTP2}
	for i := range d.parts {
		p := &d.parts[i]
		before := f.before(i)
		if before != nil && f.last.frame == d.frame && slices.Equal(before.pools, p.pools) && slices.EqualFunc(before.hosts, p.hosts, sameHost) {
			p.servers = before.servers
		} else {
			p.servers = f.part("servers", i, func(part *file) {
				part.pools(slices.SortedFunc(slices.Values(p.pools), byPoolName))
				part.plainHosts(p.hosts)
				part.secureHosts(p.hosts)
			})
		}
		f.include(&p.servers)
	}
}

// includeNames is includeParts for the names that certificates are found by.
func (f *file) includeNames() {
	for i := range f.division.parts {
		p := &f.division.parts[i]
		before := f.before(i)
		if before != nil && f.last.frame.severalCertificates && slices.EqualFunc(before.hosts, p.hosts, sameHost) {
			p.names = before.names
		} else {
			p.names = f.part("names", i, func(part *file) { part.names(p.hosts) })
		}
		f.include(&p.names)
	}
}

// before returns what a part was; nil: there was none.
func (f *file) before(i int) *part {
	if f.last == nil || len(f.last.parts) != len(f.division.parts) {
		return nil
	}
	return &f.last.parts[i]
}

// sameHost reports whether two plans of hosts are one, or so small that none is
// kept.
func sameHost(a, b *host) bool { return a == b || a.handsOn && b.handsOn && a.name == b.name }

// part writes a file of its own. It is named by its content, so that none ever
// changes: running workers were started from it, and all take effect with the main
// file. Docker configs are found by the path that they are for, and never change
// anyway: the names of theirs stay.
func (f *file) part(kind string, number int, write func(*file)) render.File {
	part := *f
	part.out, part.upgradeText = writer{}, ""
	write(&part)
	if part.out.err != nil && f.out.err == nil {
		f.out.err = part.out.err
	}
	if part.out.buf.Len() == 0 {
		return render.File{}
	}
	content := render.NewContent(part.out.buf.Bytes())
	name := shortHash(content)
	if f.agentless {
		name = fmt.Sprintf("%s-%02d", kind, number)
	}
	return render.File{Path: path.Join(path.Dir(f.configPath), partsDir, name+".conf"), Mode: 0o644, Content: content}
}

const (
	// A part is meant to fill a quarter of a Docker config, as parts are not of one size. Each
	// is a config, of which three are kept.
	meantConfig = render.MaxConfig / 4
	maxConfigs  = 64
)

// configsFor is the number of parts, a power of two, for a file of so many bytes
// that is to be in Docker configs.
func configsFor(size int) int { return min(powerOfTwo((size+meantConfig-1)/meantConfig), maxConfigs) }

// include names a part as seen from the main file, which is checked in another
// folder than it is used in.
func (f *file) include(part *render.File) {
	if part.Path != "" {
		f.out.directive("include", quoted(path.Join(partsDir, path.Base(part.Path))))
	}
}
