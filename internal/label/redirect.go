package label

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

func parseRedirects(s *Set, value string) error {
	pairs := strings.Split(strings.TrimSuffix(value, ";"), ";")
	if len(pairs) > maxRedirects {
		return fmt.Errorf("%d redirects; at most %d are allowed for one service", len(pairs), maxRedirects)
	}
	for _, pair := range pairs {
		r, err := redirect(pair)
		if err != nil {
			return fmt.Errorf("%.120q: %w", pair, err)
		}
		s.Redirects = append(s.Redirects, r)
	}
	slices.SortFunc(s.Redirects, func(a, b Redirect) int {
		return cmp.Or(strings.Compare(a.SourceHost, b.SourceHost), strings.Compare(a.SourceScheme, b.SourceScheme))
	})
	return checkRedirects(s.Redirects)
}

func redirect(pair string) (r Redirect, err error) {
	source, target, found := strings.Cut(pair, ",")
	if !found {
		return r, errors.New("a redirect is a source and a target separated by a comma")
	}
	if r.SourceScheme, r.SourceHost, err = origin(source, false); err != nil {
		return r, fmt.Errorf("the source: %w", err)
	}
	if r.TargetScheme, r.TargetHost, err = origin(target, true); err != nil {
		return r, fmt.Errorf("the target: %w", err)
	}
	return r, nil
}

// origin takes a scheme and a host apart; a slash at the end is allowed, a
// path is not: requests keep their own.
func origin(value string, portAllowed bool) (scheme, hostport string, err error) {
	scheme, rest, found := strings.Cut(strings.Trim(value, " \t"), "://")
	scheme = strings.ToLower(scheme)
	if !found || (scheme != "http" && scheme != "https") {
		return "", "", errors.New("it begins with http:// or https://")
	}
	name, port, hasPort := strings.Cut(strings.TrimSuffix(rest, "/"), ":")
	h, err := host(name)
	switch {
	case err != nil:
		return "", "", err
	case strings.HasPrefix(h, "*."):
		return "", "", errors.New("a wildcard is not allowed here")
	case !hasPort:
		return scheme, h, nil
	case !portAllowed:
		return "", "", errors.New("a port is not allowed here")
	}
	n, err := number(port, 1, 65535)
	if err != nil {
		return "", "", fmt.Errorf("the port is %w", err)
	}
	// One spelling for one place, so that loops are seen.
	if n == defaultPorts[scheme] {
		return scheme, h, nil
	}
	return scheme, fmt.Sprintf("%s:%d", h, n), nil
}

var defaultPorts = map[string]int{"http": 80, "https": 443}

// checkRedirects refuses two targets for one source, and redirects that lead
// back to where they began.
func checkRedirects(list []Redirect) error {
	next := make(map[string]string, len(list))
	for _, r := range list {
		source := r.SourceScheme + "://" + r.SourceHost
		if _, twice := next[source]; twice {
			return fmt.Errorf("%s is redirected twice", source)
		}
		next[source] = r.TargetScheme + "://" + r.TargetHost
	}
	for _, r := range list {
		at := r.SourceScheme + "://" + r.SourceHost
		for range list {
			if at = next[at]; at == r.SourceScheme+"://"+r.SourceHost {
				return fmt.Errorf("the redirects of %s lead back to it", at)
			}
		}
	}
	return nil
}
