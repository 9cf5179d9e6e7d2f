package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// interlockLabels begins the names of the labels that Interlock puts on what it
// makes for itself.
const interlockLabels = "com.docker.interlock."

// credential returns what the service's hosts prove their names with; nil if
// it names nothing or what it names cannot be had, which costs it TLS alone.
func (b *builder) credential(w *wish) *Credential {
	set := &w.labels
	if set.SSLCert == "" {
		if set.SSLKey != "" {
			b.reportLabel(w, problem.NoEffect, "ssl_key", "there is no key without a certificate; add the label ssl_cert with the name of its secret")
		}
		return nil
	}
	chain := b.material(w, "ssl_cert", set.SSLCert)
	key := chain
	if set.SSLKey != "" && set.SSLKey != set.SSLCert {
		key = b.material(w, "ssl_key", set.SSLKey)
	}
	if chain == nil || key == nil {
		return nil
	}
	return &Credential{Chain: *chain, Key: *key, Asker: w.service.Spec.Name}
}

func (b *builder) material(w *wish, labelName, name string) *Material {
	const costs = "; the service is not served over TLS"
	secret := b.secretOf(name)
	switch {
	case b.reserved[name] || secret != nil && isInterlocks(secret):
		b.reportLabel(w, problem.NoSecret, labelName, "this secret is Interlock's own and not for services"+costs)
		return nil
	case secret == nil:
		b.reportLabel(w, problem.NoSecret, labelName, "Swarm has no secret of this name; docker secret create makes one"+costs+" until then")
		return nil
	}
	return &Material{Name: name, ID: secret.ID}
}

func isInterlocks(o *snapshot.Object) bool {
	for name := range o.Labels {
		if strings.HasPrefix(name, interlockLabels) {
			return true
		}
	}
	return false
}

// passThrough takes away what a service cannot have whose TLS connections
// nobody opens on the way, and tells it so.
func (b *builder) passThrough(w *wish) {
	set := &w.labels
	for _, l := range []struct {
		name  string
		asked bool
	}{
		{"context_root", set.ContextRoot != "/"},
		{"context_root_rewrite", set.ContextRootRewrite},
		{"default_backend", set.DefaultBackend},
		{"ssl_backend", set.SSLBackend},
		{"ssl_cert", set.SSLCert != ""},
		{"ssl_key", set.SSLKey != ""},
		{"sticky_session_cookie", set.StickySessionCookie != ""},
		{"upstream_protocol", set.UpstreamProtocol != label.HTTP1},
		{"websocket_endpoints", len(set.WebsocketEndpoints) > 0},
	} {
		if l.asked {
			b.reportLabel(w, problem.NoEffect, l.name, "with ssl_passthrough=true the proxy sees nothing of the service's requests")
		}
	}
	set.ContextRoot, set.ContextRootRewrite, set.DefaultBackend, set.SSLBackend = "/", false, false, false
	set.SSLCert, set.SSLKey, set.StickySessionCookie, set.WebsocketEndpoints = "", "", "", nil
	set.UpstreamProtocol = label.HTTP1
}

// offer gives a host the credential of a service that takes part in it, unless
// an older one has given it another.
func (a *assembly) offer(s *site, p place, w *wish) {
	mine := w.terms.credential
	switch {
	case mine == nil:
	case s.credential == nil:
		s.credential, s.proves = mine, w
	case s.credential.Chain != mine.Chain:
		a.disagree(disagreement{younger: w, older: s.proves, label: "ssl_cert"}, p)
	case s.credential.Key != mine.Key:
		a.disagree(disagreement{younger: w, older: s.proves, label: "ssl_key"}, p)
	}
}

// handThrough gives a service the TLS connections of a host, alone or with
// others that want the same.
func (a *assembly) handThrough(s *site, host string, w *wish) {
	p := place{host, "/"}
	if s.through == nil {
		s.through = &share{first: w, upstreams: []string{w.service.Spec.Name}}
		return
	}
	o := &s.through.first.terms
	if w.terms.tlsOnly && !o.tlsOnly {
		a.disagree(disagreement{younger: w, older: s.through.first, label: "ssl_only"}, p)
	}
	if w.terms.affinity != (Affinity{}) && w.terms.affinity != o.affinity {
		a.disagree(disagreement{younger: w, older: s.through.first, label: affinityLabel(w.terms.affinity)}, p)
	}
	if w.terms.balance != BalanceDefault && w.terms.balance != o.balance {
		a.disagree(disagreement{younger: w, older: s.through.first, label: "balance"}, p)
	}
	s.through.upstreams = append(s.through.upstreams, w.service.Spec.Name)
}

func (s *site) passthrough(host string) Passthrough {
	slices.Sort(s.through.upstreams)
	terms := &s.through.first.terms
	return Passthrough{
		Name: host, RedirectPlain: terms.tlsOnly,
		Forward: Forward{Upstreams: s.through.upstreams, Affinity: terms.affinity, Balance: terms.balance},
	}
}

// lament tells services that ask for TLS only of the hosts that have none.
func (a *assembly) lament(host string, s *site) {
	if s.credential != nil {
		return
	}
	for _, group := range s.shares {
		if group.first.terms.tlsOnly {
			a.bare[group.first] = append(a.bare[group.first], host)
		}
	}
}

// reportBare comes after all hosts, so that a service hears of them together.
func (a *assembly) reportBare(w *wish) {
	hosts := a.bare[w]
	if len(hosts) == 0 {
		return
	}
	remedy := "the label ssl_cert names the secret with one"
	if w.service.Spec.Labels[label.Prefix+"ssl_cert"] != "" {
		remedy = "see the problem with its secret"
	}
	a.reportLabel(w, problem.MissingLabel, "ssl_only", fmt.Sprintf(
		"requests for %s are answered with 503: the service asks for TLS only, and there is no certificate; %s", shorten(hosts), remedy))
}
