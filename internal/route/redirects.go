package route

import (
	"fmt"
	"maps"
	"slices"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
)

// maxHops is how often redirects may lead on to another; browsers follow some 20.
const maxHops = 10

// redirect gives a service the redirects that it asks for; false if one of them
// cannot be, which keeps the service out like any label that is not valid.
func (a *assembly) redirect(w *wish) bool {
	list := slices.DeleteFunc(slices.Clone(w.labels.Redirects), withoutEffect)
	own := make(map[string]string, len(list))
	for _, r := range list {
		own[source(r)] = target(r)
	}
	for _, r := range list {
		if reason := a.refusal(r, own); reason != "" {
			a.reportLabel(w, problem.Conflict, "redirects", reason)
			return false
		}
	}
	for _, r := range list {
		a.site(r.SourceHost, w).redirects[r.SourceScheme] = target(r)
	}
	maps.Copy(a.next, own)
	return true
}

// withoutEffect reports whether a redirect is of TLS requests, which no proxy
// takes yet: it must not keep anybody from serving the host's plain requests.
func withoutEffect(r label.Redirect) bool { return r.SourceScheme == "https" }

// refusal is why a redirect cannot be, or empty.
func (a *assembly) refusal(r label.Redirect, own map[string]string) string {
	s := a.sites[r.SourceHost]
	if s != nil && s.redirects[r.SourceScheme] != target(r) {
		return fmt.Sprintf("the service is not routed: %s cannot be redirected, the older service %s has that host",
			r.SourceHost, s.owner.service.Spec.Name)
	}
	at := target(r)
	for range maxHops {
		if at == source(r) {
			return fmt.Sprintf("the service is not routed: with the redirects of older services, the one of %s leads back to it", source(r))
		}
		next, leadsOn := own[at]
		if !leadsOn {
			next, leadsOn = a.next[at]
		}
		if !leadsOn {
			return ""
		}
		at = next
	}
	return fmt.Sprintf("the service is not routed: the redirect of %s leads on more than %d times", source(r), maxHops)
}

func source(r label.Redirect) string { return r.SourceScheme + "://" + r.SourceHost }
func target(r label.Redirect) string { return r.TargetScheme + "://" + r.TargetHost }

func (s *site) sortedRedirects() []Redirect {
	var list []Redirect
	for _, scheme := range slices.Sorted(maps.Keys(s.redirects)) {
		list = append(list, Redirect{Scheme: scheme, Target: s.redirects[scheme]})
	}
	return list
}
