package proxy

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// The most that is described, so that an operator can ask a busy proxy: of
// hosts and services, and of what one of them has.
const (
	describedMost = 1000
	describedEach = 100
)

// Describe writes down what is being served, for people: hosts and routes as the
// table has them, and each endpoint with what it is doing. Nothing of it is
// secret. It is written at once, so that it stays together among other lines.
func (s *Server) Describe(to io.Writer) error {
	now := s.Served()
	s.mu.Lock()
	d := description{table: s.compiler.last, made: s.compiler.table, now: s.clock.now()}
	upstreams, leaving := upstreamsOf(s.compiler.upstreams), append([]*endpoint(nil), s.leaving...)
	s.mu.Unlock()
	if d.table == nil {
		d.line("no table is served yet")
	} else {
		d.line("table %s, number %d, since %s", now.Version, now.Generation, now.Since.UTC().Format(time.RFC3339))
		d.hosts()
		d.services(upstreams)
		d.leaving(leaving)
	}
	_, err := to.Write(d.text.Bytes())
	return err
}

// description is one in the making.
type description struct {
	table *route.Table
	made  *table
	now   time.Duration
	text  bytes.Buffer
}

func (d *description) line(format string, values ...any) {
	fmt.Fprintf(&d.text, format+"\n", values...)
}

// each does something with the first so many of a list, and tells of the rest.
func each[T any](d *description, list []T, most int, indent, what string, do func(*T)) {
	for i := range list[:min(len(list), most)] {
		do(&list[i])
	}
	if left := len(list) - most; left > 0 {
		d.line("%sand %d more %s", indent, left, what)
	}
}

func (d *description) hosts() {
	d.line("%d hosts, %d passed through, %d services", len(d.table.Hosts), len(d.table.Passthrough), len(d.table.Upstreams))
	each(d, d.table.Hosts, describedMost, "", "hosts", d.host)
	each(d, d.table.Passthrough, describedMost, "", "hosts passed through", func(p *route.Passthrough) {
		d.line("host %s, TLS passed through to %s", plain(p.Name), forward(&p.Forward))
	})
	if len(d.table.Default) > 0 {
		d.line("any other host")
		each(d, d.table.Default, describedEach, "  ", "paths", d.path)
	}
}

func (d *description) host(v *route.VirtualHost) {
	also := ""
	if v.Credential != nil {
		also = ", TLS"
		if s := d.made.secure.at(v.Name); s == nil || s.policy == nil {
			also = ", no TLS as its certificate is not at hand"
		}
	}
	d.line("host %s%s", plain(v.Name), also)
	for _, r := range v.Redirects {
		d.line("  all of %s is redirected to %s", r.Scheme, plain(r.Target))
	}
	each(d, v.Routes, describedEach, "  ", "paths", d.path)
}

func (d *description) path(r *route.Route) {
	also := ""
	if r.Rewrite {
		also += ", rewritten to /"
	}
	if r.TLSOnly {
		also += ", over TLS only"
	}
	if len(r.Websockets) > 0 {
		also += ", websockets at " + plain(strings.Join(r.Websockets, " "))
	}
	d.line("  %s to %s%s", plain(r.PathPrefix), forward(&r.Forward), also)
}

func forward(f *route.Forward) string {
	to := plain(strings.Join(f.Upstreams, " and "))
	switch {
	case f.Affinity.Cookie != "":
		to += ", by the cookie " + plain(f.Affinity.Cookie)
	case f.Affinity.ClientAddress:
		to += ", by the client's address"
	case f.Balance != route.BalanceDefault:
		to += ", by " + string(f.Balance)
	}
	return to
}

func (d *description) services(upstreams []*upstream) {
	each(d, upstreams, describedMost, "", "services", func(u **upstream) {
		also := ""
		if (*u).spec.TLS != nil {
			also = ", TLS"
		}
		if weight := (*u).spec.Weight; weight != nil {
			also += fmt.Sprintf(", weight %d", *weight)
		}
		d.line("service %s%s", plain((*u).spec.Name), also)
		each(d, (*u).endpoints, describedEach, "  ", "endpoints", func(e **endpoint) { d.endpoint(*e, "") })
	})
}

func (d *description) leaving(list []*endpoint) {
	if len(list) == 0 {
		return
	}
	d.line("drained, and still working")
	each(d, list, describedEach, "  ", "endpoints", func(e **endpoint) { d.endpoint(*e, " of "+plain((*e).service)) })
}

func (d *description) endpoint(e *endpoint, of string) {
	also := ""
	if e.suspended() {
		also = ", set aside until it takes connections"
	} else if left := e.asideFor(d.now); left > 0 {
		also = fmt.Sprintf(", set aside for %.1f s", left.Seconds())
	}
	d.line("  %s%s: %d in flight, %d idle connections%s", e.text, of, e.running.Load(), e.idles(), also)
}

// plain is a text as it is, or quoted where it could be taken for something else
// or is very long.
func plain(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	if quoted := strconv.QuoteToASCII(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
