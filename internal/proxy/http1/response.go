package http1

// Response is the head of a response, as it was understood. Its slices are
// those of the buffer that it was parsed from.
type Response struct {
	Minor  int // of HTTP/1.Minor: 0 or 1
	Status int // 100 to 599
	// Reason may be empty; nothing is decided by it.
	Reason  []byte
	Fields  []Field
	Content Content
	// Length is what a Content-Length says, also where no content follows, as
	// in the answer to HEAD; -1: there is none.
	Length int64
	// KeepAlive says that the connection takes another request.
	KeepAlive bool
	// Websocket says that the upstream wants to go on with that protocol.
	Websocket bool

	options options
}

// Parse reads a whole head, as HeadLength measures it, into r. Requests with
// the method HEAD are answered without content.
func (r *Response) Parse(head []byte, toHead bool) error {
	*r = Response{Fields: r.Fields[:0]}
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
	return r.understand(toHead)
}

func (r *Response) startLine(l []byte) error {
	const before = len("HTTP/1.1 ")
	if len(l) < before+3 || l[before-1] != ' ' {
		return errStartLine
	}
	var err error
	if r.Minor, err = version(l[:before-1]); err != nil {
		return err
	}
	status, ok := decimal(l[before : before+3])
	if !ok || status < 100 || status > 599 {
		return errStartLine
	}
	r.Status = int(status)
	if r.Reason = l[before+3:]; len(r.Reason) > 0 {
		if r.Reason[0] != ' ' || !allIn(r.Reason, inValue) {
			return errStartLine
		}
		r.Reason = r.Reason[1:]
	}
	return nil
}

func (r *Response) understand(toHead bool) error {
	frame := framing{length: -1}
	websocket := false
	for i := range r.Fields {
		f := &r.Fields[i]
		var err error
		switch f.Known {
		case ContentLength:
			err = frame.readLength(f.Value)
		case TransferEncoding:
			err = frame.readCoding(f.Value)
		case Connection:
			err = r.options.read(f.Value)
		case Upgrade:
			websocket = Same(f.Value, "websocket")
		}
		if err != nil {
			return err
		}
	}
	if err := frame.check(r.Minor); err != nil {
		return err
	}
	r.KeepAlive = !r.options.close && (r.Minor == 1 || r.options.keepAlive)
	r.Websocket = websocket && r.options.upgrade && r.Status == 101
	r.setContent(&frame, toHead)
	return nil
}

// setContent follows RFC 9112, section 6.3.
func (r *Response) setContent(f *framing, toHead bool) {
	r.Length = f.length
	switch {
	case toHead || r.Status < 200 || r.Status == 204 || r.Status == 304:
	case f.chunked:
		r.Content.Framing = Chunked
	case f.length > 0:
		r.Content = Content{Counted, f.length}
	case f.length < 0:
		r.Content.Framing = UntilClose
		r.KeepAlive = false
	}
}

// ForOneHop reports whether a field of this response ends here.
func (r *Response) ForOneHop(f *Field) bool {
	return forOneHop(f) || r.options.names && named(r.Fields, f)
}

// Has reports whether there is a field of a kind.
func (r *Response) Has(k Known) bool {
	for i := range r.Fields {
		if r.Fields[i].Known == k {
			return true
		}
	}
	return false
}
