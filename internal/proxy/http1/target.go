package http1

import "bytes"

// Target is what a request asks for.
type Target struct {
	// Raw is path and query as they were sent; Path is its part before the "?".
	Raw, Path []byte
	// Plain says that the path reads the same for everybody: it has no escapes,
	// empty segments or segments of dots.
	Plain bool

	authority []byte // of an absolute form
}

var (
	errTarget  = bad("the target is not a path, and not an absolute URL of http or https")
	errEscape  = bad("the target has an escape that is none, or one of a NUL")
	errAbove   = bad("the path leads above its root")
	errConnect = &Malformed{405, "this is no tunnel"}
)

// parse takes the origin form and the absolute form (RFC 9112, section 3.2).
func (t *Target) parse(b []byte) error {
	if len(b) == 0 || !allIn(b, inTarget) {
		return errTarget
	}
	if b[0] != '/' {
		var err error
		if b, err = t.absolute(b); err != nil {
			return err
		}
	}
	t.Raw, t.Path = b, b
	if query := bytes.IndexByte(b, '?'); query >= 0 {
		t.Path = b[:query]
	}
	t.Plain = plain(t.Path)
	if t.Plain {
		return nil
	}
	return checkEscapes(t.Path)
}

var rootPath = []byte("/")

// absolute cuts scheme and authority off. A path that is empty is "/", which
// stands nowhere in what was sent when a query follows: such a target is refused.
func (t *Target) absolute(b []byte) ([]byte, error) {
	var rest []byte
	switch {
	case len(b) > 7 && Same(b[:7], "http://"):
		rest = b[7:]
	case len(b) > 8 && Same(b[:8], "https://"):
		rest = b[8:]
	default:
		return nil, errTarget
	}
	slash := bytes.IndexByte(rest, '/')
	if slash < 0 {
		slash = len(rest)
	}
	t.authority = rest[:slash]
	if _, err := splitAuthority(t.authority); err != nil {
		return nil, err
	}
	if slash == len(rest) {
		return rootPath, nil
	}
	return rest[slash:], nil
}

func plain(path []byte) bool {
	for i, c := range path {
		switch c {
		case '%':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

func checkEscapes(path []byte) error {
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 || path[i+1] == '0' && path[i+2] == '0' {
			return errEscape
		}
		i += 2
	}
	return nil
}

// AppendDecoded appends the path with its escapes decoded, but for that of the
// slash, which stays as it is: the segments as they were sent.
func (t *Target) AppendDecoded(dst []byte) []byte {
	for i := 0; i < len(t.Path); i++ {
		c := t.Path[i]
		if c == '%' {
			if c = byte(unhex(t.Path[i+1])<<4 | unhex(t.Path[i+2])); c == '/' {
				dst = append(dst, t.Path[i:i+3]...)
			} else {
				dst = append(dst, c)
			}
			i += 2
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendResolved appends the path as somebody understands it who decodes all
// escapes, takes several slashes for one and follows segments of dots.
func (t *Target) AppendResolved(dst []byte) ([]byte, error) {
	start := len(dst)
	for i := 0; i < len(t.Path); i++ {
		c := t.Path[i]
		if c == '%' {
			c = byte(unhex(t.Path[i+1])<<4 | unhex(t.Path[i+2]))
			i += 2
		}
		if c == '/' {
			var err error
			if dst, err = endSegment(dst, start); err != nil {
				return dst, err
			}
			continue
		}
		dst = append(dst, c)
	}
	// What a path ends with is a segment too, and one of dots leaves a slash.
	last := dst[bytes.LastIndexByte(dst[start:], '/')+1+start:]
	if string(last) == "." || string(last) == ".." {
		return endSegment(dst, start)
	}
	return dst, nil
}

// endSegment ends the path in dst[start:] with a slash, and follows its last
// segment where that is one of dots.
func endSegment(dst []byte, start int) ([]byte, error) {
	path := dst[start:]
	slash := bytes.LastIndexByte(path, '/')
	switch segment := path[slash+1:]; {
	case slash < 0:
		return append(dst, '/'), nil
	case len(segment) == 0:
		return dst, nil
	case string(segment) == ".":
		return dst[:start+slash+1], nil
	case string(segment) == "..":
		above := bytes.LastIndexByte(path[:slash], '/')
		if above < 0 {
			return dst, errAbove
		}
		return dst[:start+above+1], nil
	}
	return append(dst, '/'), nil
}

const hexDigits = "0123456789ABCDEF"

// AppendEscaped appends a decoded path, with escapes for what may not stand in
// one and for what would end it.
func AppendEscaped(dst, path []byte) []byte {
	for _, c := range path {
		if c == '%' || c == '?' || c == '#' || c <= ' ' || c >= 0x7f {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
