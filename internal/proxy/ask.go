package proxy

import (
	"bytes"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// writeAsk puts the head of the request for an endpoint into ask, anew from
// what was understood of the client's, and behind it the content, if that is
// whole.
func (x *exchange) writeAsk(t *target, e *endpoint) {
	r := &x.request
	switch {
	case x.ask != nil:
	case x.in.w <= smallBuffer/2: // there is room for what is added
		x.ask = takeSmall()
	default:
		x.ask = takeLarge()
	}
	b := append(x.ask[:0], r.Method...)
	b = append(b, ' ')
	b = x.appendTarget(b, t)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if len(r.Authority) > 0 {
		b = append(b, r.Authority...)
	} else {
		// HTTP/1.0 needs no Host, HTTP/1.1 does.
		b = append(b, e.text...)
	}
	b = append(b, "\r\n"...)
	trusted := x.conn.trusted
	for i := range r.Fields {
		if f := &r.Fields[i]; x.passes(f, trusted) {
			b = http1.AppendField(b, f.Name, f.Value)
		}
	}
	b = x.appendClient(b, trusted)
	if r.Content.Framing == http1.NoContent && r.Declared() {
		b = http1.AppendLength(b, 0)
	}
	b = http1.AppendContent(b, r.Content)
	if !t.http2 && r.Continue {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	if t.http2 && r.TakesTrailers() {
		// For one hop, it is said anew to the next: some gRPC servers insist.
		b = append(b, "TE: trailers\r\n"...)
	}
	if x.upgrades(t) {
		b = append(b, "Connection: upgrade\r\nUpgrade: websocket\r\n"...)
	}
	x.ask = append(b, "\r\n"...)
	if x.upload.whole {
		x.ask = append(x.ask, x.wholeContent()...)
	}
}

// passes reports whether a client's field goes to the endpoint as it is.
func (x *exchange) passes(f *http1.Field, trusted bool) bool {
	switch f.Known {
	case http1.Other:
		if !x.server.options().UnderscoresInHeaders && bytes.IndexByte(f.Name, '_') >= 0 {
			return false
		}
	case http1.Host, http1.Expect, http1.ForwardedFor:
		return false
	case http1.Forwarded, http1.RealIP, http1.RequestID:
		return trusted
	}
	return !x.request.ForOneHop(f)
}

// appendClient appends who asks and how. What a trusted proxy said of it stands
// already, and only its own address is added.
func (x *exchange) appendClient(b []byte, trusted bool) []byte {
	r := &x.request
	b = append(b, "X-Forwarded-For: "...)
	for i := range r.Fields {
		// The last of several is the one that the trusted proxy has added.
		if f := &r.Fields[i]; trusted && f.Known == http1.ForwardedFor && len(f.Value) > 0 {
			b = append(b, f.Value...)
			b = append(b, ", "...)
		}
	}
	b = append(b, x.conn.address...)
	b = append(b, "\r\n"...)
	if !trusted || r.Value(http1.RealIP) == nil {
		b = append(b, "X-Real-IP: "...)
		b = append(b, x.conn.address...)
		b = append(b, "\r\n"...)
	}
	if !trusted || !r.HasName("x-forwarded-proto") {
		b = append(b, "X-Forwarded-Proto: "...)
		b = append(b, x.conn.proto...)
		b = append(b, "\r\n"...)
	}
	if !trusted || r.Value(http1.RequestID) == nil {
		b = append(b, "X-Request-Id: "...)
		b = append(b, x.id[:]...)
		b = append(b, "\r\n"...)
	}
	return b
}
