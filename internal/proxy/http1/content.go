package http1

import "math"

var (
	errTwoLengths   = bad("there is more than one Content-Length")
	errLength       = bad("the Content-Length is not a number of bytes")
	errCoding       = bad("the Transfer-Encoding is not chunked and nothing else")
	errTwoFramings  = bad("there are a Content-Length and a Transfer-Encoding")
	errOldTransfers = bad("a message of HTTP/1.0 has a Transfer-Encoding")
)

// framing collects what the fields of a message say about its content.
type framing struct {
	length  int64 // -1: not said
	chunked bool
}

func (f *framing) readLength(value []byte) error {
	if f.length >= 0 {
		return errTwoLengths
	}
	n, ok := decimal(value)
	if !ok {
		return errLength
	}
	f.length = n
	return nil
}

func (f *framing) readCoding(value []byte) error {
	if f.chunked || !Same(value, "chunked") {
		return errCoding
	}
	f.chunked = true
	return nil
}

// check refuses what could be read in two ways (RFC 9112, section 6.3).
func (f *framing) check(minor int) error {
	switch {
	case f.chunked && f.length >= 0:
		return errTwoFramings
	case f.chunked && minor == 0:
		return errOldTransfers
	}
	return nil
}

// decimal reads digits, and nothing else.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
