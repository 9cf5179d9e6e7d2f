package nginx

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// The arguments below stand where nginx looks for variables, and refer to one.

// cookieVariable is the value of a request's cookie.
type cookieVariable string

var cookieAlphabet = newAlphabet(letters + digits + "_")

func (c cookieVariable) text() (string, error) {
	if len(c) == 0 || len(c) > 256 || !cookieAlphabet.spells(string(c)) {
		return "", fmt.Errorf("%.80q is not the name of a cookie that can be a variable", string(c))
	}
	return "$cookie_" + string(c), nil
}

// stickyVariable is what requests with a cookie are spread by. nginx takes
// names of variables and cookies without regard to case, and a short name of
// any cookie's length.
type stickyVariable string

func (s stickyVariable) text() (string, error) {
	sum := sha256.Sum256([]byte(strings.ToLower(string(s))))
	return "$sticky_" + hex.EncodeToString(sum[:8]), nil
}

// redirection is a place that requests are sent to with their path and query.
type redirection string

func (r redirection) text() (string, error) {
	scheme, authority, _ := strings.Cut(string(r), "://")
	host, port, ported := strings.Cut(authority, ":")
	if (scheme != "http" && scheme != "https") || !areLabels(host) || (ported && !isPort(port)) {
		return "", fmt.Errorf("%.80q is not a scheme, host and port to redirect to", string(r))
	}
	return `"` + string(r) + `$request_uri"`, nil
}

var digitAlphabet = newAlphabet(digits)

func isPort(s string) bool { return len(s) >= 1 && len(s) <= 5 && digitAlphabet.spells(s) }

// urlPath is a path without escapes, so that it reads the same in a URL.
type urlPath string

var urlPathAlphabet = newAlphabet(letters + digits + "/._~!+=:@,-")

func (p urlPath) text() (string, error) {
	if !strings.HasPrefix(string(p), "/") || !urlPathAlphabet.spells(string(p)) || len(p) > maxArgument/2 {
		return "", fmt.Errorf("the path %.80q cannot be rewritten", string(p))
	}
	return string(p), nil
}

// slashAdded is a path with a slash at its end and the request's query.
type slashAdded string

func (s slashAdded) text() (string, error) {
	text, err := urlPath(s).text()
	return `"` + text + `/$is_args$args"`, err
}

// upstreamURL is where a location's requests go. With something to strip, nginx
// puts the rest of the path in place of the location's own; without, it passes
// on what the client sent, byte for byte.
type upstreamURL struct {
	pool        *pool
	strip, path string
}

func (u upstreamURL) text() (string, error) {
	scheme := "http://"
	if u.pool.tls != nil {
		scheme = "https://"
	}
	if u.strip == "" {
		return scheme + u.pool.name, nil
	}
	rest, found := strings.CutPrefix(u.path, u.strip)
	if !found {
		return "", fmt.Errorf("the path %.80q is not below %.80q", u.path, u.strip)
	}
	if rest == "" {
		rest = "/"
	}
	text, err := urlPath(rest).text()
	return `"` + scheme + u.pool.name + text + `"`, err
}

// restOf is a regular expression for what is below a path, which is its first
// group and begins with a slash.
type restOf string

func (r restOf) text() (string, error) {
	if _, err := urlPath(r).text(); err != nil {
		return "", err
	}
	return `"(?s)^` + regexp.QuoteMeta(string(r)) + `(/.*)$"`, nil
}
