package http1

// class is a set of the sets that a byte is in.
type class uint8

const (
	inToken  class = 1 << iota // RFC 9110, section 5.6.2
	inValue                    // of a field: printable, blank or beyond ASCII
	inTarget                   // printable but '#', or beyond ASCII
	inHost                     // letters, digits and -._~, in any case
	isUpper
)

var classes = newClasses()

func newClasses() (of [256]class) {
	for i := range of {
		c := byte(i)
		lower, upper := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z'
		if lower || upper || isDigit(c) {
			of[c] |= inToken | inHost
		}
		if upper {
			of[c] |= isUpper
		}
		if ' ' < c && c != 0x7f {
			of[c] |= inValue | inTarget
		}
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		of[c] |= inToken
	}
	for _, c := range []byte("-._~") {
		of[c] |= inHost
	}
	of[' '] |= inValue
	of['\t'] |= inValue
	of['#'] &^= inTarget
	return of
}

// allIn reports whether every byte of b is of a class.
func allIn(b []byte, set class) bool {
	for _, c := range b {
		if classes[c]&set == 0 {
			return false
		}
	}
	return true
}

func isToken(b []byte) bool { return len(b) > 0 && allIn(b, inToken) }

func lower(c byte) byte {
	if classes[c]&isUpper != 0 {
		return c | 0x20
	}
	return c
}

// AppendLower appends b in lower case.
func AppendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}

// Same reports whether b is the word, which is in lower case, in any case.
func Same(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if lower(c) != word[i] {
			return false
		}
	}
	return true
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// element cuts the first element off a comma-separated list (RFC 9110, section
// 5.6.1); the elements of quoted strings are not kept together.
func element(list []byte) (first, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trimBlanks(list[:i]), list[i+1:]
		}
	}
	return trimBlanks(list), nil
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
