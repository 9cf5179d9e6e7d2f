package proxy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

var errTwoRoutes = &http1.Malformed{Status: 400, Reason: "the path reads as one place or as another, which are served by different services"}

// route finds where a request goes. Without a target there is a page in out
// that says why, or where to go instead.
func (x *exchange) route() (*target, error) {
	host := http1.CanonicalHost(x.host[:0], x.request.Host)
	s := x.site(host)
	if s == nil {
		return nil, nil
	}
	x.facts.tally = s.tally
	if to := x.elsewhere(s); to != "" {
		x.redirect(to, x.request.Target.Raw)
		return nil, nil
	}
	t, err := x.target(s)
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		x.page(503, "No service is configured for this path.")
	case t.tlsOnly && !x.conn.secured():
		x.sendToTLS(s, host)
		return nil, nil
	case t.rewrite && len(x.path) == len(t.root) && !x.upgrades(t):
		x.addSlash(t)
		return nil, nil
	}
	return t, nil
}

// site finds who answers for a host; without one there is a page in out.
func (x *exchange) site(host []byte) *site {
	t := x.server.table.Load()
	if x.conn.secured() {
		return x.secureSite(t, host)
	}
	s := t.plain.find(host)
	if s == nil {
		s = t.fallback
	}
	switch {
	case s == nil:
		x.page(503, "No service is configured for this host name.")
	case s.handsOn:
		x.facts.tally = s.tally
		x.redirectToTLS(host)
		return nil
	}
	return s
}

// secureSite finds the host of a request over TLS, which must be proven by the
// certificate of the name that its client has asked for: what holds for a host
// would else depend on which one came first (RFC 9110, section 15.5.20).
func (x *exchange) secureSite(t *table, host []byte) *site {
	s := t.secure.find(host)
	known := s != nil && s.policy != nil
	if known && !bytes.Equal(host, x.conn.name) {
		asked := t.secure.find(x.conn.name)
		known = asked != nil && asked.policy == s.policy
	}
	if !known {
		x.page(421, "This host is served over connections for its own name only.")
		return nil
	}
	return s
}

// elsewhere is the origin that a host's requests are redirected to; empty: none.
func (x *exchange) elsewhere(s *site) string {
	if x.conn.secured() {
		return s.secureRedirect
	}
	return s.redirect
}

// sendToTLS answers a plain request for what is served over TLS only.
func (x *exchange) sendToTLS(s *site, host []byte) {
	if s.policy == nil {
		x.page(503, "This is served over TLS only, and there is no certificate that can be used for it.")
		return
	}
	x.redirectToTLS(host)
}

func (x *exchange) redirectToTLS(host []byte) {
	origin := append([]byte("https://"), host...)
	if port := x.server.options().SecurePort; port != 0 && port != 443 {
		origin = append(origin, ':')
		origin = strconv.AppendUint(origin, uint64(port), 10)
	}
	x.redirect(string(origin), x.request.Target.Raw)
}

// target finds the route of a path, as somebody reads it who takes it as it
// stands, and as somebody who resolves all that can be. Where the two differ
// one of the services would get what is not its own.
func (x *exchange) target(s *site) (*target, error) {
	asked := &x.request.Target
	if asked.Plain {
		x.path = asked.Path
		return s.target(asked.Path), nil
	}
	b := takeSmall()
	defer giveBack(b)
	var scratch []byte
	if len(asked.Path) <= len(b) {
		scratch = b[:0]
	}
	literal := s.target(asked.AppendDecoded(scratch))
	resolved, err := asked.AppendResolved(nil)
	if err != nil {
		return nil, err
	}
	x.path = resolved
	t := s.target(resolved)
	if t != literal {
		return nil, errTwoRoutes
	}
	return t, nil
}

// upgrades reports whether a request becomes a websocket.
func (x *exchange) upgrades(t *target) bool {
	return x.request.Websocket && t.upgrades(x.path)
}

// appendTarget appends what the endpoint is asked for: what the client sent,
// byte for byte, unless the root is rewritten.
func (x *exchange) appendTarget(dst []byte, t *target) []byte {
	asked := &x.request.Target
	switch {
	case !t.rewrite:
		return append(dst, asked.Raw...)
	case len(x.path) == len(t.root):
		dst = append(dst, '/')
	case asked.Plain:
		dst = append(dst, asked.Path[len(t.root):]...)
	default:
		dst = http1.AppendEscaped(dst, x.path[len(t.root):])
	}
	return append(dst, asked.Raw[len(asked.Path):]...)
}

// newID gives the request a name that is in both sides' logs.
func (x *exchange) newID() {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	hex.Encode(x.id[:], raw[:])
}
