package template

import (
	"fmt"
	"slices"
	"strings"
	texttemplate "text/template"
)

// declared are the names of the functions, with all that needs no rendering.
var declared = functions("", &output{})

// functions are those that templates may call beside text/template's own.
func functions(statusServer string, out *output) texttemplate.FuncMap {
	return texttemplate.FuncMap{
		"backendName":     backendName,
		"isRedirectHost":  isRedirectHost,
		"isRedirectMatch": isRedirectMatch,
		"isWebsocketRoot": isWebsocketRoot,
		"interlockStatus": func() string { return statusServer },
		"print":           limited(fmt.Sprint),
		"println":         limited(fmt.Sprintln),
		"printf": func(format string, args ...any) (string, error) {
			return limited(func(args ...any) string { return fmt.Sprintf(format, args...) })(args...)
		},
		stepFunction: out.step,
	}
}

// backendName is the name of a host's upstream: "up-" and the host, of a
// wildcard "up-." and its domain.
func backendName(host string) string { return "up-" + strings.TrimPrefix(host, "*") }

// isRedirectHost says whether plain requests for a host are redirected.
func isRedirectHost(host string, redirects []Redirect) bool {
	return slices.ContainsFunc(redirects, func(r Redirect) bool { return isRedirectMatch(r.Source, host) })
}

// isRedirectMatch says whether a redirect's source is about plain requests for a
// host. One of TLS requests would send plain ones in a circle.
func isRedirectMatch(source, host string) bool {
	name, plain := strings.CutPrefix(source, "http://")
	return plain && strings.EqualFold(name, host)
}

// isWebsocketRoot says whether all of a host may be upgraded.
func isWebsocketRoot(endpoints []string) bool { return slices.Contains(endpoints, "/") }
