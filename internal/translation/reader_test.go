package translation

import (
	"fmt"
	"strings"
	"testing"
)

// directive is one directive of an nginx configuration, read back by rules of
// our own: words, quotes, escapes, semicolons and braces.
type directive struct {
	words []string
	block []directive
}

// readBack reads a configuration file.
func readBack(conf []byte) ([]directive, error) {
	r := reader{rest: string(conf)}
	list, err := r.directives(0)
	if err == nil && r.rest != "" {
		err = fmt.Errorf("a brace too many before %.40q", r.rest)
	}
	return list, err
}

type reader struct{ rest string }

func (r *reader) directives(depth int) ([]directive, error) {
	var list []directive
	var d directive
	for {
		word, end, err := r.token()
		if err != nil {
			return nil, err
		}
		switch {
		case !end:
			d.words = append(d.words, word)
			continue
		case word == ";" && len(d.words) > 0:
		case word == "{" && len(d.words) > 0:
			if d.block, err = r.directives(depth + 1); err != nil {
				return nil, err
			}
		case len(d.words) == 0 && (word == "}" && depth > 0 || word == "" && depth == 0):
			return list, nil
		default:
			return nil, fmt.Errorf("%q after %q", word, d.words)
		}
		list = append(list, d)
		d = directive{}
	}
}

// token returns the next word, or what ends a directive: ";", "{", "}" or, at
// the end of the file, nothing.
func (r *reader) token() (word string, end bool, err error) {
	for {
		r.rest = strings.TrimLeft(r.rest, " \t\r\n")
		if !strings.HasPrefix(r.rest, "#") {
			break
		}
		_, r.rest, _ = strings.Cut(r.rest, "\n")
	}
	if r.rest == "" {
		return "", true, nil
	}
	if c := r.rest[0]; strings.IndexByte(";{}", c) >= 0 {
		r.rest = r.rest[1:]
		return string(c), true, nil
	}
	if c := r.rest[0]; c == '"' || c == '\'' {
		return r.quoted(c)
	}
	n := strings.IndexAny(r.rest, " \t\r\n;{}")
	if n < 0 {
		return "", false, fmt.Errorf("the file ends in %.40q", r.rest)
	}
	word, r.rest = r.rest[:n], r.rest[n:]
	return word, false, nil
}

func (r *reader) quoted(quote byte) (word string, end bool, err error) {
	var b strings.Builder
	for i := 1; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '\\' && i+1 < len(r.rest):
			i++
			b.WriteByte(r.rest[i])
		case c == quote:
			r.rest = r.rest[i+1:]
			if r.rest == "" || strings.IndexByte(" \t\r\n;{", r.rest[0]) < 0 {
				return "", false, fmt.Errorf("%.40q after a quoted word", r.rest)
			}
			return b.String(), false, nil
		default:
			b.WriteByte(c)
		}
	}
	return "", false, fmt.Errorf("the quotes of %.40q are not closed", r.rest)
}

// server is a server block as clients see it.
type server struct {
	name      string   // the last
	names     []string // all of them
	listen    string
	chain     string   // the certificate's file; empty: none
	locations []string // with their modifiers, in the order of the file
	text      string   // all of it
}

// servers reads the servers for plain requests back. A directive that this
// renderer never writes fails the test.
func servers(t testing.TB, conf []byte) []server {
	t.Helper()
	return listening(t, conf, "18080")
}

// secureServers reads those that end TLS connections.
func secureServers(t testing.TB, conf []byte) []server {
	t.Helper()
	return append(listening(t, conf, "18443 ssl http2"), listening(t, conf, "unix:/run/interlock/tls.sock ssl http2 proxy_protocol")...)
}

func listening(t testing.TB, conf []byte, where string) []server {
	t.Helper()
	var found []server
	for _, d := range blockOf(t, conf, "http") {
		if d.words[0] == "server" {
			s := readServer(t, d)
			if strings.TrimSuffix(s.listen, " default_server") == where {
				found = append(found, s)
			}
		}
	}
	return found
}

func blockOf(t testing.TB, conf []byte, name string) []directive {
	t.Helper()
	list, err := readBack(conf)
	if err != nil {
		t.Fatalf("the file cannot be read back: %v\n%s", err, conf)
	}
	for _, d := range list {
		if d.words[0] == name {
			return d.block
		}
	}
	return nil
}

// handedThrough are the names whose TLS connections leave unopened.
func handedThrough(t testing.TB, conf []byte) []string {
	t.Helper()
	var names []string
	for _, d := range blockOf(t, conf, "stream") {
		switch d.words[0] {
		case "map_hash_bucket_size", "map_hash_max_size", "proxy_connect_timeout", "proxy_socket_keepalive", "proxy_timeout", "upstream", "server":
		case "map":
			for _, entry := range d.block {
				if d.words[2] == "$passthrough_pool" && len(entry.words) == 2 {
					names = append(names, entry.words[0])
				}
			}
		default:
			t.Fatalf("stream has the directive %q", d.words)
		}
	}
	return names
}

func readServer(t testing.TB, d directive) server {
	t.Helper()
	s := server{text: fmt.Sprint(d)}
	for _, d := range d.block {
		switch d.words[0] {
		case "access_log", "ssl_certificate_key", "ssl_reject_handshake", "return", "set_real_ip_from", "real_ip_header":
		case "listen":
			s.listen = strings.Join(d.words[1:], " ")
		case "server_name":
			s.name = strings.Join(d.words[1:], " ")
			s.names = append(s.names, s.name)
		case "ssl_certificate":
			s.chain = strings.Join(d.words[1:], " ")
		case "if":
			readLocation(t, d)
		case "location":
			s.locations = append(s.locations, strings.Join(d.words[1:], " "))
			readLocation(t, d)
		default:
			t.Fatalf("a server has the directive %q", d.words)
		}
	}
	return s
}

func readLocation(t testing.TB, d directive) {
	t.Helper()
	for _, d := range d.block {
		switch d.words[0] {
		case "proxy_pass", "return", "absolute_redirect", "proxy_http_version", "proxy_read_timeout", "proxy_send_timeout",
			"proxy_set_header", "proxy_ssl_server_name", "proxy_ssl_name", "proxy_ssl_verify",
			"grpc_pass", "rewrite", "client_body_timeout", "client_max_body_size", "grpc_ssl_server_name", "grpc_ssl_name", "grpc_ssl_verify":
		case "if":
			readLocation(t, d)
		default:
			t.Fatalf("a location has the directive %q", d.words)
		}
	}
}

// serverOf is what a host is served by, but for what depends on others: where
// TLS connections come in, and whether other certificates are there.
func serverOf(t testing.TB, conf []byte, name string) string {
	t.Helper()
	text := ""
	for _, s := range servers(t, conf) {
		if s.name == name {
			text += s.text
		}
	}
	for _, s := range secureServers(t, conf) {
		if s.name == name {
			text += fmt.Sprint(s.chain, s.locations)
		}
	}
	return text
}
