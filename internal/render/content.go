package render

import "crypto/sha256"

// Content is what is in a file, with its hash: whoever carries a file over from
// one bundle to the next need not hash it again. The zero value is no content at
// all, of no bytes.
type Content struct {
	data []byte
	hash Hash // not set where there is no data
}

// Hash tells contents apart: the same hash, the same bytes.
type Hash [sha256.Size]byte

// nothing is the hash of no bytes.
var nothing Hash = sha256.Sum256(nil)

// NewContent hashes the data, which nobody may change any more.
func NewContent(data []byte) Content {
	if len(data) == 0 {
		return Content{}
	}
	return Content{data: data, hash: sha256.Sum256(data)}
}

// Data is what is in the file. It must not be changed.
func (c Content) Data() []byte { return c.data }

// Hash is the SHA-256 of the data.
func (c Content) Hash() Hash {
	if len(c.data) == 0 {
		return nothing
	}
	return c.hash
}

// Size is the number of bytes.
func (c Content) Size() int { return len(c.data) }

// Equal reports whether two contents are the same bytes.
func (c Content) Equal(other Content) bool { return c.hash == other.hash }
