package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
)

// terms is how a service wants to be spoken to. All services of one host and
// path are spoken to alike.
type terms struct {
	rewrite    bool
	websockets []string
	affinity   Affinity
	balance    Balance
	tls        *TLS // to the endpoints
	http2      bool
	// passthrough hands clients' TLS connections on; else credential, if there
	// is one, ends them.
	passthrough bool
	credential  *Credential
	tlsOnly     bool
}

// settle takes a service's terms from its labels and tells of those that its
// other labels rule out.
func (b *builder) settle(w *wish) {
	set := &w.labels
	w.terms.passthrough, w.terms.tlsOnly = set.SSLPassthrough, set.SSLOnly
	if w.terms.passthrough {
		b.passThrough(w)
	}
	w.terms.credential = b.credential(w)
	w.terms.rewrite = set.ContextRootRewrite && set.ContextRoot != "/"
	w.terms.affinity = b.affinity(w)
	w.terms.balance = b.balance(w)
	w.terms.http2 = set.UpstreamProtocol != label.HTTP1
	if w.terms.http2 {
		b.withoutWebsockets(w)
	}
	for _, path := range set.WebsocketEndpoints {
		if below(path, set.ContextRoot) {
			w.terms.websockets = append(w.terms.websockets, path)
			continue
		}
		b.reportLabel(w, problem.NoEffect, "websocket_endpoints", fmt.Sprintf(
			"%s is outside of the context root %s and has no effect; endpoints are written as clients ask for them", path, set.ContextRoot))
	}
	if set.SSLBackend || set.UpstreamProtocol == label.H2 {
		w.terms.tls = &TLS{Verify: Verify(set.SSLBackendTLSVerify)}
	}
	if w.terms.tlsOnly && set.DefaultBackend {
		b.reportLabel(w, problem.NoEffect, "default_backend", "with ssl_only=true the service does not answer for hosts that no service claims: there is no certificate for those")
		set.DefaultBackend = false
	}
	b.withoutCredential(w)
}

// withoutWebsockets takes away the websockets of tasks that speak HTTP/2: they
// are opened over HTTP/1.1.
func (b *builder) withoutWebsockets(w *wish) {
	if len(w.labels.WebsocketEndpoints) == 0 {
		return
	}
	b.reportLabel(w, problem.NoEffect, "websocket_endpoints", fmt.Sprintf(
		"with upstream_protocol=%s the tasks are spoken to in HTTP/2, and websockets are opened over HTTP/1.1; a service of its own can take them", w.labels.UpstreamProtocol))
	w.labels.WebsocketEndpoints = nil
}

// withoutCredential takes away the redirects of TLS requests that nobody could
// answer, so that they keep nobody else from the host.
func (b *builder) withoutCredential(w *wish) {
	if w.terms.credential != nil {
		return
	}
	w.labels.Redirects = slices.DeleteFunc(w.labels.Redirects, func(r label.Redirect) bool {
		if r.SourceScheme != "https" {
			return false
		}
		b.reportLabel(w, problem.NoEffect, "redirects", fmt.Sprintf(
			"the redirect of https://%s has no effect: the service has no certificate to answer with; the label ssl_cert names the secret with one", r.SourceHost))
		return true
	})
}

func (b *builder) affinity(w *wish) Affinity {
	set := &w.labels
	asked := Affinity{Cookie: set.StickySessionCookie, ClientAddress: set.IPHash && set.StickySessionCookie == ""}
	switch {
	case asked == Affinity{}:
	case set.BackendMode == label.BackendVIP:
		b.reportLabel(w, problem.NoEffect, affinityLabel(asked), "with backend_mode=vip Swarm picks the task, so no request sticks to one")
		return Affinity{}
	case set.IPHash && asked.Cookie != "":
		b.reportLabel(w, problem.NoEffect, "ip_hash", "sticky_session_cookie goes before it")
	}
	return asked
}

// balance comes after affinity, which goes before it.
func (b *builder) balance(w *wish) Balance {
	set := &w.labels
	switch {
	case set.Balance == "":
	case set.BackendMode == label.BackendVIP:
		b.reportLabel(w, problem.NoEffect, "balance", "with backend_mode=vip Swarm picks the task")
		return BalanceDefault
	case w.terms.affinity != Affinity{}:
		b.reportLabel(w, problem.NoEffect, "balance", affinityLabel(w.terms.affinity)+" goes before it")
		return BalanceDefault
	}
	return Balance(set.Balance)
}

func affinityLabel(a Affinity) string {
	if a.Cookie != "" {
		return "sticky_session_cookie"
	}
	return "ip_hash"
}

// below reports whether a path is at or below a root, by whole segments.
func below(path, root string) bool {
	return root == "/" || path == root || strings.HasPrefix(path, root+"/")
}

// place is where two services meet.
type place struct{ host, root string }

func (p place) String() string {
	if p.host == "" {
		return "every host that no service claims, path " + p.root
	}
	return p.host + p.root
}

// disagreement is one label about which a younger service differs from the
// older one of the same places.
type disagreement struct {
	younger, older *wish
	label          string
	leftOut        bool // else the label is ignored
}

// disagreements returns what a younger service cannot have where an older one
// was first. It is left out where its requests would arrive in a form that it
// did not ask for; what only changes how they are spread is ignored.
func disagreements(younger, older *wish) (list []disagreement, leftOut bool) {
	add := func(label string, out bool) {
		list = append(list, disagreement{younger: younger, older: older, label: label, leftOut: out})
		leftOut = leftOut || out
	}
	y, o := &younger.terms, &older.terms
	switch {
	case y.http2 != o.http2, y.http2 && (y.tls == nil) != (o.tls == nil):
		add("upstream_protocol", true)
	case (y.tls == nil) != (o.tls == nil):
		add("ssl_backend", true)
	case y.tls != nil && *y.tls != *o.tls:
		add("ssl_backend_tls_verify", true)
	}
	if y.tlsOnly && !o.tlsOnly {
		add("ssl_only", true)
	}
	if y.rewrite != o.rewrite {
		add("context_root_rewrite", true)
	}
	if leftOut {
		return list, true
	}
	if y.affinity != (Affinity{}) && y.affinity != o.affinity {
		add(affinityLabel(y.affinity), false)
	}
	if y.balance != BalanceDefault && y.balance != o.balance {
		add("balance", false)
	}
	if len(y.websockets) > 0 && !slices.Equal(y.websockets, o.websockets) {
		add("websocket_endpoints", false)
	}
	return list, false
}

// message names the places, so that both owners know what this is about.
func (d disagreement) message(places []place) string {
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = p.String()
	}
	where := shorten(names)
	decides := fmt.Sprintf("the older service %s decides there", d.older.service.Spec.Name)
	if value, has := d.older.service.Spec.Labels[label.Prefix+d.label]; has {
		decides += fmt.Sprintf(" with %s=%.80q", d.label, value)
	} else {
		decides += ", without this label"
	}
	if d.leftOut {
		return fmt.Sprintf("the service gets no requests for %s: %s", where, decides)
	}
	return fmt.Sprintf("the label is ignored for %s: %s", where, decides)
}

// shorten lists the first few of many.
func shorten(names []string) string {
	const shown = 3
	text := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
