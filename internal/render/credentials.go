package render

import "bytes"

// Pair is the content of a credential as it was found, in PEM: checked by
// nobody yet. Both are the same where one material holds both.
type Pair struct{ Chain, Key []byte }

// Credentials are the contents at hand, by the name of the virtual host that
// they are for. A host that the table gives a credential and that is not there
// is not served over TLS.
type Credentials map[string]Pair

// Equal compares the contents, unless they are one and the same.
func (p Pair) Equal(q Pair) bool { return sameBytes(p.Chain, q.Chain) && sameBytes(p.Key, q.Key) }

func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// Alike reports whether a host has the same pair in both, or in neither.
func (c Credentials) Alike(other Credentials, host string) bool {
	a, there := c[host]
	b, thereToo := other[host]
	return there == thereToo && a.Equal(b)
}
