// Package http1 reads and writes the syntax of HTTP/1.1 and 1.0 (RFC 9110 and
// 9112) in buffers of its caller. It is strict: of what two recipients could
// read in two ways it accepts neither. What it returns are slices of the
// caller's buffer, and nothing is allocated, so that messages may be parsed at
// the rate that a network delivers them.
//
// It does no I/O, knows no routes and decides nothing about what is forwarded.
package http1

import "bytes"

// What a head may have. nginx's own bound is four buffers of 8 KiB.
const (
	MaxHead   = 32 << 10 // bytes, the empty line included
	MaxFields = 200
)

// Malformed is why a message is refused. All of them are declared in this
// package, so that refusing allocates nothing.
type Malformed struct {
	// Status is what a client gets to see for it.
	Status int
	Reason string
}

func (m *Malformed) Error() string { return m.Reason }

func bad(reason string) *Malformed { return &Malformed{Status: 400, Reason: reason} }

// Reasons that several functions share.
var (
	ErrTooLong       = &Malformed{431, "the header section is too long"}
	ErrTooManyFields = &Malformed{431, "the header section has too many fields"}
	errBareLF        = bad("a line ends without a carriage return")
	errStartLine     = bad("the start line is malformed")
	errVersion       = &Malformed{505, "the version of HTTP is not supported"}
)

var crlf = []byte("\r\n")

// HeadLength returns how many bytes at the start of b are the head of a message
// with its empty line; 0: it is not whole yet. The first seen bytes were there
// when it was asked before.
func HeadLength(b []byte, seen int) (int, error) {
	from := max(seen-len("\r\n\r\n")+1, 0)
	if end := bytes.Index(b[from:], []byte("\r\n\r\n")); end >= 0 {
		if end += from + len("\r\n\r\n"); end <= MaxHead {
			return end, nil
		}
		return 0, ErrTooLong
	}
	if len(b) >= MaxHead {
		return 0, ErrTooLong
	}
	return 0, bareLF(b, from)
}

// bareLF tells somebody who ends lines his own way so at once: the end of his
// head would be waited for in vain.
func bareLF(b []byte, from int) error {
	for i := from; i < len(b); i++ {
		if b[i] == '\n' && (i == 0 || b[i-1] != '\r') {
			return errBareLF
		}
	}
	return nil
}

// line cuts the first line off b, its CRLF not included.
func line(b []byte) (first, rest []byte, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 1 || b[end-1] != '\r' {
		return nil, nil, errBareLF
	}
	return b[:end-1], b[end+1:], nil
}

// version reads "HTTP/1.0" or "HTTP/1.1" and returns the digit after the dot.
func version(b []byte) (minor int, err error) {
	switch string(b) {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	const shape = "HTTP/d.d"
	if len(b) == len(shape) && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7]) {
		return 0, errVersion
	}
	return 0, errStartLine
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Framing is how the end of a message's content is found.
type Framing uint8

// The framings of RFC 9112, section 6.
const (
	NoContent  Framing = iota
	Counted            // by Content-Length
	Chunked            // by the last chunk
	UntilClose         // by the end of the connection; responses only
)

// Content says what follows a head.
type Content struct {
	Framing Framing
	Length  int64 // of Counted, in bytes
}
