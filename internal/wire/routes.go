package wire

import (
	"errors"
	"fmt"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

func readHost(message *interlockv1.VirtualHost, known map[string]*route.Upstream) (route.VirtualHost, error) {
	host := route.VirtualHost{Name: message.GetName()}
	if host.Name == "" {
		return host, errors.New("it has no name")
	}
	if len(message.GetRoutes()) == 0 && len(message.GetRedirects()) == 0 {
		return host, errors.New("it has no route and no redirect")
	}
	for _, m := range message.GetRedirects() {
		if !isScheme(m.GetScheme()) {
			return host, fmt.Errorf("redirect of the scheme %q, which is not http or https", m.GetScheme())
		}
		if scheme, rest, found := strings.Cut(m.GetTarget(), "://"); !found || !isScheme(scheme) || rest == "" || strings.ContainsAny(rest, "/?#@") {
			return host, fmt.Errorf("redirect to %q, which is not SCHEME://HOST[:PORT]", m.GetTarget())
		}
		host.Redirects = append(host.Redirects, route.Redirect{Scheme: m.GetScheme(), Target: m.GetTarget()})
	}
	if err := ascending("redirect", host.Redirects, func(r route.Redirect) string { return r.Scheme }); err != nil {
		return host, err
	}
	var err error
	if host.Credential, err = readCredential(message.GetCredential()); err != nil {
		return host, fmt.Errorf("credential: %w", err)
	}
	host.Routes, err = readRoutes(message.GetRoutes(), known)
	return host, err
}

func isScheme(text string) bool { return text == "http" || text == "https" }

func readRoutes(messages []*interlockv1.Route, known map[string]*route.Upstream) ([]route.Route, error) {
	var routes []route.Route
	seen := make(map[string]bool, len(messages))
	for i, m := range messages {
		prefix := m.GetPathPrefix()
		if seen[prefix] {
			return nil, fmt.Errorf("path prefix %q stands there twice", prefix)
		}
		seen[prefix] = true
		if i > 0 && len(prefix) > len(routes[i-1].PathPrefix) {
			return nil, fmt.Errorf("path prefix %q stands after the shorter %q: the longest comes first", prefix, routes[i-1].PathPrefix)
		}
		r, err := readRoute(m, known)
		if err != nil {
			return nil, fmt.Errorf("path prefix %q: %w", prefix, err)
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func readRoute(message *interlockv1.Route, known map[string]*route.Upstream) (route.Route, error) {
	r := route.Route{PathPrefix: message.GetPathPrefix(), Rewrite: message.GetRewrite(), Websockets: message.GetWebsockets(), TLSOnly: message.GetTlsOnly()}
	if !strings.HasPrefix(r.PathPrefix, "/") {
		return r, errors.New("it does not begin with /")
	}
	for _, path := range r.Websockets {
		if path != r.PathPrefix && !strings.HasPrefix(path, strings.TrimSuffix(r.PathPrefix, "/")+"/") {
			return r, fmt.Errorf("the websocket path %q is not below it", path)
		}
	}
	if err := ascending("websocket path", r.Websockets, identity); err != nil {
		return r, err
	}
	var err error
	r.Forward, err = readForward(message.GetForward(), known)
	return r, err
}

// readForward does not look at the upstreams where known is nil.
func readForward(message *interlockv1.Forward, known map[string]*route.Upstream) (route.Forward, error) {
	forward := route.Forward{Upstreams: message.GetUpstreams()}
	if known != nil {
		if err := checkUpstreams(&forward, known); err != nil {
			return forward, err
		}
	}
	switch affinity := message.GetAffinity().(type) {
	case *interlockv1.Forward_Cookie:
		if !isCookieName(affinity.Cookie) {
			return forward, fmt.Errorf("the cookie's name %q is not of letters, digits and underscores", affinity.Cookie)
		}
		forward.Affinity.Cookie = affinity.Cookie
	case *interlockv1.Forward_ClientAddress:
		forward.Affinity.ClientAddress = affinity.ClientAddress
	}
	balance, isBalance := balances[message.GetBalance()]
	switch {
	case !isBalance:
		return forward, fmt.Errorf("there is no balance %s", message.GetBalance())
	case balance != route.BalanceDefault && forward.Affinity != route.Affinity{}:
		return forward, errors.New("it has an affinity and a balance, which would have no effect")
	}
	forward.Balance = balance
	return forward, ascending("upstream", forward.Upstreams, identity)
}

// checkUpstreams checks that there are all upstreams of a forward, and that they
// are spoken to alike.
func checkUpstreams(forward *route.Forward, known map[string]*route.Upstream) error {
	if len(forward.Upstreams) == 0 {
		return errors.New("it forwards to nobody")
	}
	for _, name := range forward.Upstreams {
		upstream := known[name]
		if upstream == nil {
			return fmt.Errorf("there is no upstream %q", name)
		}
		if first := known[forward.Upstreams[0]]; !upstream.SpokenToAlike(first) {
			return fmt.Errorf("it forwards to the upstreams %q and %q, which are spoken to differently", forward.Upstreams[0], name)
		}
	}
	return nil
}

func isCookieName(name string) bool {
	for i := range len(name) {
		if c := name[i] | 0x20; (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') && name[i] != '_' {
			return false
		}
	}
	return name != ""
}
