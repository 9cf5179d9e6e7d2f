package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

var errTwoRoutes = &http1.Malformed{Status: 400, Reason: "the path reads as one place or as another, which are served by different services"}

// route finds where a request goes. Without a target there is a page in out
// that says why, or where to go instead.
func (x *exchange) route() (*target, error) {
	host := http1.CanonicalHost(x.host[:0], x.request.Host)
	s := x.server.table.Load().site(host)
	if s == nil {
		x.page(503, "No service is configured for this host name.")
		return nil, nil
	}
	if s.redirect != "" {
		x.redirect(s.redirect, x.request.Target.Raw)
		return nil, nil
	}
	t, err := x.target(s)
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		x.page(503, "No service is configured for this path.")
	case t.rewrite && len(x.path) == len(t.root) && !x.upgrades(t):
		x.addSlash(t)
		return nil, nil
	}
	return t, nil
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
