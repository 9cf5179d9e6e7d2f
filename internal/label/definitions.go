package label

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Definition describes one label: what docs/labels.md says of it and how its
// value is read.
type Definition struct {
	Name    string // without the prefix
	Grammar string // what a value looks like, to complete "expected …"
	Example string
	Meaning string
	parse   func(*Set, string) error
}

// definitions holds every label, in the order of the documentation.
var definitions = []Definition{
	{"hosts", "host names separated by commas, at most 256", "a.example.com,b.example.com", "The host names that the service serves. A name may begin with `*.` to stand for every name one or more levels below it.", parseHosts},
	{"port", "a port number from 1 to 65535", "8080", "The port inside the container. May be absent where the service publishes exactly one TCP port.", parsePort},
	{"network", "the name of a network", "mystack_web", "The network over which the proxy reaches the tasks. The proxies are attached to it, and it goes before a port published in host mode. Needed only where the service has several.", parseNetwork},
	{"service_cluster", "the name of a service cluster: letters, digits, `.`, `_`, `-`", "us-east", "The service cluster that serves the service. Absent: the default cluster.", parseServiceCluster},
	{"default_backend", boolGrammar, "true", "The service answers for every host that no service claims. With no such service the answer is 503.", boolean(func(s *Set) *bool { return &s.DefaultBackend })},
	{"context_root", "a path of at most 254 bytes that begins with `/`", "/app", "Only requests for this path and those below it go to the service: `/app` takes `/app` and `/app/x`, never `/apple`. Of several that match the longest wins. `/.well-known` and `/.well-known/acme-challenge` are reserved: whoever answers there gets certificates for the host.", parseContextRoot},
	{"context_root_rewrite", boolGrammar, "true", "The service sees `/` in place of the context root, and the root itself is redirected to the root with a slash. An escaped slash (`%2F`) arrives as a slash.", boolean(func(s *Set) *bool { return &s.ContextRootRewrite })},
	{"ssl_cert", secretGrammar, "shop.cert", "The Docker secret with the certificate and its issuers' in PEM: TLS ends at the proxy. It may hold the key too. See [TLS](tls.md).", secret(func(s *Set) *string { return &s.SSLCert })},
	{"ssl_key", secretGrammar, "shop.key", "The Docker secret with the certificate's key in PEM, not encrypted. Absent: `ssl_cert` holds it.", secret(func(s *Set) *string { return &s.SSLKey })},
	{"ssl_only", boolGrammar, "true", "Plain HTTP requests are redirected to HTTPS (302). Where the host has no certificate they are answered with 503.", boolean(func(s *Set) *bool { return &s.SSLOnly })},
	{"ssl_passthrough", boolGrammar, "true", "TLS goes through to the task, chosen by the name that the client asks for (SNI). The service has its hosts alone, whole, and not over plain HTTP; labels about paths, cookies and certificates have no effect.", boolean(func(s *Set) *bool { return &s.SSLPassthrough })},
	{"ssl_backend", boolGrammar, "true", "The proxy speaks TLS to the task.", boolean(func(s *Set) *bool { return &s.SSLBackend })},
	{"ssl_backend_tls_verify", "`none` or `required`", "none", "How the task's certificate is verified. `required`: its name must be the host that the client asks for, its issuer one of those that the operator names in SSLBackendAuthorities; without any the answer is 502. Absent: what the operator's SSLVerify says, `required` if nothing.", parseTLSVerify},
	{"upstream_protocol", "`http1`, `h2c` or `h2`", "h2c", "What the proxy speaks to the task: HTTP/1.1; HTTP/2 without TLS, from the first byte on, as gRPC servers take it; or HTTP/2 over TLS, for which `ssl_backend` need not be said and `ssl_backend_tls_verify` holds. Clients may speak either. Such a task has no websockets. See [gRPC](routing.md#http2-and-grpc). Absent: `http1`.", parseProtocol},
	{"websocket_endpoints", "paths of at most 254 bytes separated by commas, at most 64, and at most 256 when counted on each host", "/ws,/chat", "The paths, and all below them, that may be upgraded to websockets, as clients write them. Those outside of the context root have no effect.", parseWebsocketEndpoints},
	{"sticky_session_cookie", "the name of a cookie: letters, digits, `_`", "session", "Requests with the same value of this cookie go to the same task; those without it are spread.", parseCookie},
	{"ip_hash", boolGrammar, "true", "Requests from the same client address go to the same task. Under ingress publishing every client has the same address.", boolean(func(s *Set) *bool { return &s.IPHash })},
	{"redirects", "pairs of `http://` or `https://` URLs, at most 64, source and target separated by a comma, pairs by a semicolon", "http://old.example.com,http://new.example.com", "Requests for the source are answered with 302 to the target; path and query stay. An `https://` source needs the certificate that `ssl_cert` names. A host that an older service serves or redirects is refused.", parseRedirects},
	{"backend_mode", "`task` or `vip`", "vip", "What requests go to: the tasks, or the service's virtual IP on a network that it shares with the proxies. With `vip` Swarm picks the task: no request sticks to one, scaling changes nothing in the proxy, and beside another service of the same host it counts as one task.", parseBackendMode},
	{"weight", "a number from 0 to 1000", "5", "How many tasks the service counts as where services share a host and path, however many it has: 95 beside 5 is a share of 5 %. 0: it gets no requests. Absent: as many as it has.", parseWeight},
	{"balance", "`round_robin` or `least_conn`", "least_conn", "How requests that nothing keeps together are spread: in turn, or to the task with the fewest of them at work, for tasks or requests that differ in what they take. Absent: in turn, unless the operator's IPHash says otherwise.", parseBalance},
	{"max_fails", "a number from 0 to 1000", "3", "After so many failures within fail_timeout a task is set aside; 0 never does. Absent: 1.", parseMaxFails},
	{"fail_timeout", "a duration in whole seconds from 1s to 1h", "10s", "See max_fails; also how long a task is set aside. Absent: 10s.", parseFailTimeout},
}

const (
	boolGrammar   = "`true` or `false`"
	secretGrammar = "the name of a Docker secret"
)

// Definitions returns every label in the order of the documentation.
func Definitions() []Definition { return slices.Clone(definitions) }

func lookup(name string) *Definition {
	i := slices.IndexFunc(definitions, func(d Definition) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &definitions[i]
}

// unknownMessage names the label that the user may have meant, if one is near.
func unknownMessage(name string) string {
	const message = "there is no such label; it has no effect"
	folded := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, Prefix)))
	for _, d := range definitions {
		if near(folded, d.Name) {
			return fmt.Sprintf("%s; did you mean %s%s?", message, Prefix, d.Name)
		}
	}
	return message + "; docs/labels.md lists those that exist"
}

// near reports whether two names are the same but for separators, a plural's
// s, or one letter added, lost or exchanged.
func near(a, b string) bool {
	squash := strings.NewReplacer("_", "", "-", "", ".", "").Replace
	a, b = strings.TrimSuffix(squash(a), "s"), strings.TrimSuffix(squash(b), "s")
	prefix := 0
	for prefix < min(len(a), len(b)) && a[prefix] == b[prefix] {
		prefix++
	}
	a, b = a[prefix:], b[prefix:]
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1
}

// WriteReference writes docs/labels.md.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Service labels

<!-- Generated from internal/label/definitions.go by: go test ./internal/label -update -->

Labels stand on the service (` + "`--label`, in a stack file `deploy.labels`" + `), not on its containers.
All begin with ` + "`" + Prefix + "`" + `. A value that does not match keeps the service out of the proxies, with a
problem in the core's log that names the service, the label and what would be right; everybody else is served.

| label | value | meaning |
|---|---|---|
`)
	for _, d := range definitions {
		fmt.Fprintf(&b, "| `%s` | %s, e.g. `%s` | %s |\n", d.Name, d.Grammar, d.Example, d.Meaning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
