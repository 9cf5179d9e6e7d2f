package http1

import "bytes"

// Request is the head of a request, as it was understood. Its slices are those
// of the buffer that it was parsed from.
type Request struct {
	Method []byte
	Target Target
	Minor  int // of HTTP/1.Minor: 0 or 1
	// Host is as it was sent, without its port; empty only in HTTP/1.0.
	// Authority has the port.
	Host, Authority []byte
	Fields          []Field
	Content         Content
	// KeepAlive says that the client will send another request.
	KeepAlive bool
	// Websocket says that the client wants to go on with that protocol.
	Websocket bool
	// Continue says that the client waits for 100 before it sends the content.
	Continue bool

	options options
}

var (
	errNoHost      = bad("there is no Host")
	errTwoHosts    = bad("there is more than one Host")
	errExpectation = &Malformed{417, "the expectation is not 100-continue"}
	errMethod      = bad("the method is no token")
)

// Parse reads a whole head, as HeadLength measures it, into r. The array of
// r.Fields is used again.
func (r *Request) Parse(head []byte) error {
	*r = Request{Fields: r.Fields[:0]}
	start, rest, err := line(head)
	if err != nil {
		return err
	}
	if err := r.startLine(start); err != nil {
		return err
	}
	if r.Fields, err = appendFields(r.Fields, rest[:len(rest)-len(crlf)]); err != nil {
		return err
	}
	return r.understand()
}

func (r *Request) startLine(l []byte) error {
	first, last := bytes.IndexByte(l, ' '), bytes.LastIndexByte(l, ' ')
	if first < 0 || last == first {
		return errStartLine
	}
	var err error
	if r.Minor, err = version(l[last+1:]); err != nil {
		return err
	}
	if r.Method = l[:first]; !isToken(r.Method) {
		return errMethod
	}
	if string(r.Method) == "CONNECT" {
		return errConnect
	}
	return r.Target.parse(l[first+1 : last])
}

// understand takes from the fields what says how the message is to be read.
func (r *Request) understand() error {
	frame := framing{length: -1}
	hosts, websocket := 0, false
	for i := range r.Fields {
		f := &r.Fields[i]
		var err error
		switch f.Known {
		case Host:
			hosts++
			err = r.readHost(f.Value)
		case ContentLength:
			err = frame.readLength(f.Value)
		case TransferEncoding:
			err = frame.readCoding(f.Value)
		case Connection:
			err = r.options.read(f.Value)
		case Upgrade:
			websocket = Same(f.Value, "websocket")
		case Expect:
			err = r.readExpect(f.Value)
		}
		if err != nil {
			return err
		}
	}
	if err := frame.check(r.Minor); err != nil {
		return err
	}
	r.setContent(&frame)
	r.KeepAlive = !r.options.close && (r.Minor == 1 || r.options.keepAlive)
	r.Websocket = websocket && r.options.upgrade && r.Minor == 1 && r.Content.Framing == NoContent
	return r.checkHost(hosts)
}

func (r *Request) setContent(f *framing) {
	switch {
	case f.chunked:
		r.Content.Framing = Chunked
	case f.length > 0:
		r.Content = Content{Counted, f.length}
	default:
		r.Continue = false
	}
}

func (r *Request) readExpect(value []byte) error {
	if !Same(value, "100-continue") {
		return errExpectation
	}
	// RFC 9110, section 10.1.1: in HTTP/1.0 it has no meaning.
	r.Continue = r.Minor == 1
	return nil
}

func (r *Request) readHost(value []byte) error {
	host, err := splitAuthority(value)
	r.Host, r.Authority = host, value
	return err
}

// checkHost follows RFC 9112, section 3.2; a target with a host of its own must
// agree with the field, so that nobody routes by the one and serves by the other.
func (r *Request) checkHost(hosts int) error {
	switch {
	case hosts > 1:
		return errTwoHosts
	case hosts == 0 && r.Minor == 1:
		return errNoHost
	case r.Target.authority == nil:
		return nil
	case hosts == 0:
		return r.readHost(r.Target.authority)
	case !sameName(r.Target.authority, r.Authority):
		return errDisagreement
	}
	return nil
}

// TakesTrailers reports whether the client says that it does.
func (r *Request) TakesTrailers() bool {
	for i := range r.Fields {
		if r.Fields[i].Known != TE {
			continue
		}
		for list := r.Fields[i].Value; len(list) > 0; {
			var coding []byte
			if coding, list = element(list); Same(coding, "trailers") {
				return true
			}
		}
	}
	return false
}

// Declared reports whether the content's length is announced as zero bytes,
// which apps want to be told of methods that usually have content.
func (r *Request) Declared() bool {
	for i := range r.Fields {
		if r.Fields[i].Known == ContentLength {
			return true
		}
	}
	return false
}

// ForOneHop reports whether a field of this request ends here.
func (r *Request) ForOneHop(f *Field) bool {
	return forOneHop(f) || r.options.names && named(r.Fields, f)
}

// forOneHop is for both kinds of messages; content is framed anew.
func forOneHop(f *Field) bool {
	switch f.Known {
	case Connection, ContentLength, TransferEncoding, Upgrade, TE, HopByHop:
		return true
	}
	return false
}

// Is reports whether the method is the given one; methods have a case.
func (r *Request) Is(method string) bool { return string(r.Method) == method }

// Idempotent reports whether the request may be sent twice (RFC 9110, section
// 9.2.2). Of methods that are not known nothing is assumed.
func (r *Request) Idempotent() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// Cookie returns the value of the first cookie with a name; nil: there is none.
func (r *Request) Cookie(name string) []byte {
	for i := range r.Fields {
		if r.Fields[i].Known != Cookie {
			continue
		}
		for rest := r.Fields[i].Value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			key, value, found := bytes.Cut(trimBlanks(pair), []byte("="))
			if found && string(key) == name && len(value) > 0 {
				return value
			}
		}
	}
	return nil
}

// Value returns the value of the first field of a kind; nil: there is none.
func (r *Request) Value(k Known) []byte {
	for i := range r.Fields {
		if r.Fields[i].Known == k {
			return r.Fields[i].Value
		}
	}
	return nil
}

// CallsGRPC reports whether the content is a call's of gRPC, whatever its messages
// are encoded in. That of gRPC-Web is not: what it can do ends.
func (r *Request) CallsGRPC() bool {
	const kind = "application/grpc"
	for i := range r.Fields {
		if f := &r.Fields[i]; Same(f.Name, "content-type") {
			return len(f.Value) >= len(kind) && Same(f.Value[:len(kind)], kind) &&
				(len(f.Value) == len(kind) || f.Value[len(kind)] == '+' || f.Value[len(kind)] == ';')
		}
	}
	return false
}

// HasName reports whether there is a field with a name in lower case.
func (r *Request) HasName(name string) bool {
	for i := range r.Fields {
		if Same(r.Fields[i].Name, name) {
			return true
		}
	}
	return false
}
