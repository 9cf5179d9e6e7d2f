package proxy

import (
	"crypto/tls"
	"encoding/base64"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/interlock-lb/interlock/internal/logformat"
	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// appendLine appends what a format says of a request that is over.
func appendLine(b []byte, x *exchange, format *logformat.Format) []byte {
	for i := range format.Pieces {
		p := &format.Pieces[i]
		if p.Variable == logformat.Literal {
			b = append(b, p.Text...)
			continue
		}
		b = x.appendFact(b, p, format.Escape)
	}
	return append(b, '\n')
}

// appendFact appends what a variable stands for. The order is that of how often
// formats have them.
func (x *exchange) appendFact(b []byte, p *logformat.Piece, way logformat.Escape) []byte {
	r, f := &x.request, &x.facts
	switch p.Variable {
	case logformat.RequestField:
		return appendValue(b, field(r, p.Field), way)
	case logformat.RemoteUser:
		return appendUser(b, r, way)
	case logformat.Request:
		return x.appendRequestLine(b, way)
	case logformat.Method:
		return appendValue(b, r.Method, way)
	case logformat.RequestURI:
		return appendValue(b, r.Target.Raw, way)
	case logformat.URI:
		return appendValue(b, x.path, way)
	case logformat.Args:
		return appendValue(b, query(r), way)
	case logformat.Protocol:
		return x.appendProtocol(b)
	case logformat.Host:
		return appendValue(b, r.Host, way)
	case logformat.Status:
		return strconv.AppendInt(b, int64(f.status), 10)
	case logformat.BytesSent:
		return strconv.AppendInt(b, f.put, 10)
	case logformat.BodyBytesSent:
		return strconv.AppendInt(b, max(f.put-int64(f.head), 0), 10)
	case logformat.RequestLength:
		return strconv.AppendInt(b, f.got, 10)
	case logformat.RequestTime:
		return appendSeconds(b, f.took)
	case logformat.RequestID:
		return append(b, x.id[:]...)
	case logformat.ServerName:
		return appendValue(b, f.tally.host, way)
	case logformat.Service:
		return appendValue(b, f.tally.service, way)
	}
	if b, is := x.conn.appendFact(b, p.Variable, way); is {
		return b
	}
	if b, is := x.appendUpstream(b, p.Variable, way); is {
		return b
	}
	return x.appendProcess(b, p.Variable)
}

// appendUpstream appends what a variable says of the endpoint that was asked
// last, and whether it says anything of one.
func (x *exchange) appendUpstream(b []byte, v logformat.Variable, way logformat.Escape) ([]byte, bool) {
	f := &x.facts
	if v < logformat.UpstreamAddr || v > logformat.UpstreamResponseTime {
		return b, false
	}
	switch {
	case f.endpoint == nil:
		return appendNone(b, way), true
	case v == logformat.UpstreamAddr:
		return append(b, f.endpoint.text...), true
	case v == logformat.UpstreamConnectTime:
		return appendSeconds(b, f.connected-f.turned), true
	case v == logformat.UpstreamHeaderTime:
		return appendSeconds(b, f.answered-f.turned), true
	}
	return appendSeconds(b, f.began+f.took-f.turned), true
}

// appendFact appends what a variable says of the connection, and whether it says
// anything of one.
func (c *conn) appendFact(b []byte, v logformat.Variable, way logformat.Escape) ([]byte, bool) {
	switch v {
	case logformat.RemoteAddr:
		return append(b, c.address...), true
	case logformat.RemotePort:
		return strconv.AppendUint(b, uint64(c.remote.Port()), 10), true
	case logformat.Scheme:
		return append(b, c.proto...), true
	case logformat.Connection:
		return strconv.AppendUint(b, c.number, 10), true
	case logformat.ConnectionRequests:
		return strconv.AppendInt(b, int64(c.served), 10), true
	case logformat.SSLCipher, logformat.SSLName, logformat.SSLProtocol:
		return c.appendTLS(b, v, way), true
	}
	return b, false
}

// appendTLS appends what a variable says of a connection's TLS.
func (c *conn) appendTLS(b []byte, v logformat.Variable, way logformat.Escape) []byte {
	switch {
	case !c.secured():
		return appendNone(b, way)
	case v == logformat.SSLName:
		return appendValue(b, c.name, way)
	case v == logformat.SSLCipher:
		return append(b, tls.CipherSuiteName(c.cipher)...)
	}
	// As nginx and OpenSSL have it.
	switch c.tlsVersion {
	case tls.VersionTLS10:
		return append(b, "TLSv1"...)
	case tls.VersionTLS11:
		return append(b, "TLSv1.1"...)
	case tls.VersionTLS12:
		return append(b, "TLSv1.2"...)
	}
	return append(b, "TLSv1.3"...)
}

var ownPid = os.Getpid()

// appendProcess appends what says nothing of the request.
func (x *exchange) appendProcess(b []byte, v logformat.Variable) []byte {
	switch v {
	case logformat.LocalTime:
		return append(b, x.server.clock.stamps.Load().local...)
	case logformat.ISOTime:
		return append(b, x.server.clock.stamps.Load().iso...)
	case logformat.Msec:
		return appendSeconds(b, time.Duration(time.Now().UnixNano()))
	case logformat.Pid:
		return strconv.AppendInt(b, int64(ownPid), 10)
	case logformat.Hostname:
		return append(b, x.server.options().ProxyID...)
	case logformat.Pipe:
		// "p" for a request that came together with the one before, which is not
		// told apart here.
		return append(b, '.')
	}
	return b
}

// appendRequestLine appends it as it was understood.
func (x *exchange) appendRequestLine(b []byte, way logformat.Escape) []byte {
	if len(x.request.Method) == 0 {
		return appendNone(b, way)
	}
	b = appendValue(b, x.request.Method, way)
	b = append(b, ' ')
	b = appendValue(b, x.request.Target.Raw, way)
	b = append(b, ' ')
	return x.appendProtocol(b)
}

func (x *exchange) appendProtocol(b []byte) []byte {
	if x.conn.version == 2 {
		return append(b, "HTTP/2.0"...)
	}
	return append(append(b, "HTTP/1."...), byte('0'+x.request.Minor))
}

// field is the first of a name, as nginx has it but for lists.
func field(r *http1.Request, name string) []byte {
	for i := range r.Fields {
		if http1.Same(r.Fields[i].Name, name) {
			return r.Fields[i].Value
		}
	}
	return nil
}

func query(r *http1.Request) []byte {
	if len(r.Target.Raw) <= len(r.Target.Path) {
		return nil
	}
	return r.Target.Raw[len(r.Target.Path)+1:]
}

// appendUser appends the name in the credentials of Basic authentication.
func appendUser(b []byte, r *http1.Request, way logformat.Escape) []byte {
	const scheme = "basic "
	var plain [256]byte
	value := field(r, "authorization")
	if len(value) <= len(scheme) || !http1.Same(value[:len(scheme)], scheme) || base64.StdEncoding.DecodedLen(len(value)-len(scheme)) > len(plain) {
		return appendNone(b, way)
	}
	n, err := base64.StdEncoding.Decode(plain[:], value[len(scheme):])
	if err != nil {
		n = 0
	}
	for i := range n {
		if plain[i] == ':' {
			return appendValue(b, plain[:i], way)
		}
	}
	return appendNone(b, way)
}

// appendValue appends what a client has sent so that it cannot end a quoted
// string, or a line, unless the format asks for just that.
func appendValue[T string | []byte](b []byte, value T, way logformat.Escape) []byte {
	switch {
	case len(value) == 0:
		return appendNone(b, way)
	case way == logformat.JSON:
		return appendJSON(b, value)
	case way == logformat.None:
		return append(b, value...)
	}
	for i := range len(value) {
		c := value[i]
		if c == '"' || c == '\\' || c < ' ' || c >= 0x7f {
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		b = append(b, c)
	}
	return b
}

// appendNone stands for what is not there.
func appendNone(b []byte, way logformat.Escape) []byte {
	if way == logformat.Default {
		return append(b, '-')
	}
	return b
}

const hexDigits = "0123456789ABCDEF"

// appendJSON appends what may stand in a string of JSON (RFC 8259, section 7).
// Bytes that are no UTF-8 become the replacement character.
func appendJSON[T string | []byte](b []byte, value T) []byte {
	for i := 0; i < len(value); {
		c := value[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ' || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			default:
				b = append(b, c)
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(string(value[i:min(i+utf8.UTFMax, len(value))]))
		b = utf8.AppendRune(b, r)
		i += size
	}
	return b
}
