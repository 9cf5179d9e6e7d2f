// Package render holds what a renderer makes: a bundle. The renderers for the
// kinds of proxies are the packages below it; they turn a routing table into
// files and know nothing of Docker.
package render

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"
)

// MaxConfig is the greatest size, in bytes, of a file that reaches a proxy as a
// Docker config: less than Swarm's 1000 KiB (moby/swarmkit#3054, in 20.10 too).
// Engines from before 2022 take half of it, and say so.
const MaxConfig = 1000<<10 - 1

// Bundle is the set of files that one kind of proxy needs to serve one table.
type Bundle struct {
	// Files are sorted by path.
	Files []File
	// Token is what a proxy answers on its status socket once it serves this
	// bundle; the renderer writes it into the files.
	Token string
}

// File is one file of a bundle.
type File struct {
	// Path is absolute, inside the proxy's container.
	Path string
	Mode fs.FileMode
	Content
	// Sensitive says that the file holds a key: it is kept in memory or tmpfs
	// only, and nobody but its owner may read it.
	Sensitive bool
}

// Version is the hash of all paths, modes and contents: equal versions are equal
// bundles. The contents have been hashed before, each once, so that this costs
// little however large they are.
func (b *Bundle) Version() string {
	return b.hash(func(f *File) []byte {
		hash := f.Hash()
		return hash[:]
	})
}

// FormerVersion is what processes from before files knew their hashes call the
// bundle: the hash of all bytes. They are at work while Interlock is updated.
func (b *Bundle) FormerVersion() string { return b.hash(func(f *File) []byte { return f.Data() }) }

// hash takes of each file's content what it is told to.
func (b *Bundle) hash(content func(*File) []byte) string {
	h := sha256.New()
	field := func(data []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(data)))
		h.Write(n[:])
		h.Write(data)
	}
	for i := range b.Files {
		f := &b.Files[i]
		field([]byte(f.Path))
		var mode [4]byte
		binary.BigEndian.PutUint32(mode[:], uint32(f.Mode.Perm()))
		if f.Sensitive {
			mode[0] = 1 // above all permissions
		}
		field(mode[:])
		field(content(f))
	}
	field([]byte(b.Token))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// File is the file at a path; nil: there is none.
func (b *Bundle) File(path string) *File {
	at, there := b.Find(path)
	if !there {
		return nil
	}
	return &b.Files[at]
}

// Find is where the file at a path stands among the files, or would stand.
func (b *Bundle) Find(path string) (at int, there bool) {
	return slices.BinarySearchFunc(b.Files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
}

// Size is the number of bytes of all files together.
func (b *Bundle) Size() int {
	size := 0
	for i := range b.Files {
		size += b.Files[i].Size()
	}
	return size
}

// Sort puts the files into the order that Bundle promises.
func (b *Bundle) Sort() {
	slices.SortFunc(b.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
}
