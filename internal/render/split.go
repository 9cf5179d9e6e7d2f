package render

import (
	"cmp"
	"hash/fnv"

	"github.com/interlock-lb/interlock/internal/route"
)

// Split says how a large table is divided, so that a change of one host or
// upstream is one of a few small files. A small table stays in one, which people
// can read. The zero Split is what proxies get.
type Split struct {
	// Whole is how many hosts and upstreams together are not divided; 0: 512.
	Whole int
	// Each is about how many of them a part has; 0: 64.
	Each int
}

const (
	splitWhole = 512
	splitEach  = 64
	// maxParts keeps the list of parts, which is written anew with each change,
	// and the number of files small.
	maxParts = 256
)

// Parts is the number of parts for a table: a power of two, so that few changes
// of its size change it; 0: it stays whole. It depends on nothing but the size.
func (s Split) Parts(t *route.Table) int {
	size := len(t.Hosts) + len(t.Upstreams)
	if size <= cmp.Or(s.Whole, splitWhole) {
		return 0
	}
	parts := 1
	for parts < maxParts && parts*cmp.Or(s.Each, splitEach) < size {
		parts *= 2
	}
	return parts
}

// PartOf is the part, of so many, that a name belongs to: its FNV-1a hash. Whatever
// else is in the table, a name stays where it is.
func PartOf(name string, parts int) int {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name)) // it never fails
	h := hash.Sum64()
	return int((h ^ h>>32) % uint64(parts))
}
