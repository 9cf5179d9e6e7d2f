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
	list := w.labels.Redirects
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
	for _, host := range w.hostsOverTLSOnly() {
		plain, secure := "http://"+host, "https://"+host
		if _, redirected := own[plain]; redirected {
			continue
		}
		if reason := a.leadsBack(plain, secure, own); reason != "" {
			a.reportLabel(w, problem.Conflict, "ssl_only", reason)
			return false
		}
		own[plain] = secure
	}
	for _, r := range list {
		s := a.site(r.SourceHost, w)
		s.redirects[r.SourceScheme] = target(r)
		if r.SourceScheme == "https" {
			a.offer(s, place{r.SourceHost, "/"}, w)
		}
	}
	maps.Copy(a.next, own)
	return true
}

// refusal is why a redirect cannot be, or empty.
func (a *assembly) refusal(r label.Redirect, own map[string]string) string {
	s := a.sites[r.SourceHost]
	if s != nil && s.redirects[r.SourceScheme] != target(r) {
		return fmt.Sprintf("the service is not routed: %s cannot be redirected, the older service %s has that host",
			r.SourceHost, s.owner.service.Spec.Name)
	}
	return a.leadsBack(source(r), target(r), own)
}

// leadsBack is why nobody would follow a redirect to its end, or empty.
func (a *assembly) leadsBack(source, target string, own map[string]string) string {
	at := target
	for range maxHops {
		if at == source {
			return fmt.Sprintf("the service is not routed: with the other redirects, the one of %s leads back to it", source)
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
	return fmt.Sprintf("the service is not routed: the redirect of %s leads on more than %d times", source, maxHops)
}

// hostsOverTLSOnly are the hosts whose plain requests are redirected because
// the service asks for TLS only.
func (w *wish) hostsOverTLSOnly() []string {
	if !w.terms.tlsOnly {
		return nil
	}
	return w.labels.Hosts
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
