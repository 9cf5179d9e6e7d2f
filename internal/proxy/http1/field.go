package http1

import "bytes"

// Field is one header or trailer field.
type Field struct {
	Name  []byte // as sent
	Value []byte // without blanks around it
	Known Known
}

// Known is a field that a proxy treats in a way of its own.
type Known uint8

// The fields that this package, or who forwards messages, looks at.
const (
	Other Known = iota
	Host
	Connection
	ContentLength
	TransferEncoding
	Expect
	Upgrade
	HopByHop // the others that RFC 9110, section 7.6.1, names: never forwarded
	Trailer
	TE // never forwarded either; RFC 9110, section 10.1.4
	Date
	Cookie
	Referer
	UserAgent
	Forwarded    // and X-Forwarded-*, but for the next
	ForwardedFor // X-Forwarded-For
	RealIP
	RequestID
	Info // what a proxy tells clients about itself: X-Proxy-Id and the like
)

type knownField struct {
	name  string
	known Known
}

// knownFields are sorted into the letters that they begin with.
var knownFields = byLetter([]knownField{
	{"connection", Connection},
	{"content-length", ContentLength},
	{"cookie", Cookie},
	{"date", Date},
	{"expect", Expect},
	{"forwarded", Forwarded},
	{"host", Host},
	{"http2-settings", HopByHop},
	{"keep-alive", HopByHop},
	{"proxy-connection", HopByHop},
	{"referer", Referer},
	{"te", TE},
	{"trailer", Trailer},
	{"transfer-encoding", TransferEncoding},
	{"upgrade", Upgrade},
	{"user-agent", UserAgent},
	{"x-forwarded-for", ForwardedFor},
	{"x-proxy-id", Info},
	{"x-real-ip", RealIP},
	{"x-request-id", RequestID},
	{"x-server-info", Info},
	{"x-upstream-addr", Info},
	{"x-upstream-response-time", Info},
})

func byLetter(list []knownField) (fields [128][]knownField) {
	for _, f := range list {
		fields[f.name[0]] = append(fields[f.name[0]], f)
	}
	return fields
}

// identify finds a field by its name, which is a token.
func identify(name []byte) Known {
	for _, f := range knownFields[lower(name[0])] {
		if Same(name, f.name) {
			return f.known
		}
	}
	const forwarded = "x-forwarded-"
	if len(name) > len(forwarded) && Same(name[:len(forwarded)], forwarded) {
		return Forwarded
	}
	return Other
}

var (
	errFolded    = bad("a header field is folded over several lines")
	errNoColon   = bad("a header line has no colon")
	errFieldName = bad("the name of a header field is empty or has a character that may not be in it")
	errValue     = bad("the value of a header field has a control character")
)

// appendFields parses the lines of a field section up to its end.
func appendFields(fields []Field, b []byte) ([]Field, error) {
	for len(b) > 0 {
		l, rest, err := line(b)
		if err != nil {
			return fields, err
		}
		if len(fields) == MaxFields {
			return fields, ErrTooManyFields
		}
		f, err := parseField(l)
		if err != nil {
			return fields, err
		}
		fields, b = append(fields, f), rest
	}
	return fields, nil
}

func parseField(l []byte) (Field, error) {
	if len(l) > 0 && (l[0] == ' ' || l[0] == '\t') {
		return Field{}, errFolded
	}
	colon := bytes.IndexByte(l, ':')
	if colon < 0 {
		return Field{}, errNoColon
	}
	// Blanks before the colon are no token: one recipient would take the field
	// for another, or for none.
	f := Field{Name: l[:colon], Value: trimBlanks(l[colon+1:])}
	if !isToken(f.Name) {
		return Field{}, errFieldName
	}
	if !allIn(f.Value, inValue) {
		return Field{}, errValue
	}
	f.Known = identify(f.Name)
	return f, nil
}

// options is what the Connection fields of a message say (RFC 9110, section 7.6.1).
type options struct {
	close, keepAlive, upgrade bool
	// names is set where they name fields besides.
	names bool
}

func (o *options) read(list []byte) error {
	for len(list) > 0 {
		var option []byte
		option, list = element(list)
		switch {
		case len(option) == 0:
		case Same(option, "close"):
			o.close = true
		case Same(option, "keep-alive"):
			o.keepAlive = true
		case Same(option, "upgrade"):
			o.upgrade = true
		case !isToken(option):
			return errValue
		default:
			o.names = true
		}
	}
	return nil
}

// named reports whether a Connection field names the field f, which then is for
// one connection only.
func named(fields []Field, f *Field) bool {
	for i := range fields {
		if fields[i].Known != Connection {
			continue
		}
		for list := fields[i].Value; len(list) > 0; {
			var option []byte
			option, list = element(list)
			if sameName(option, f.Name) {
				return true
			}
		}
	}
	return false
}

func sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
