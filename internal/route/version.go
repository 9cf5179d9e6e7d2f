package route

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// digest is a hash of a part of a table.
type digest [16]byte

// digestOf hashes what a table has of one thing.
func digestOf(part any) digest {
	// No value in a table can fail to encode, so the error is always nil.
	content, _ := json.Marshal(part)
	sum := sha256.Sum256(content)
	return digest(sum[:])
}

func digestsOf[T any](parts []T) []digest {
	list := make([]digest, len(parts))
	for i := range parts {
		list[i] = digestOf(&parts[i])
	}
	return list
}

// rest hashes what is neither a host nor an upstream.
func (t *Table) rest() digest { return digestOf([]any{t.Default, t.Passthrough}) }

// Version is the hash of the table's content: equal versions are equal tables.
func (t *Table) Version() string {
	return version(t.rest(), digestsOf(t.Hosts), digestsOf(t.Upstreams))
}

// version is a hash of hashes, so that those of what did not change can be kept.
func version(rest digest, hosts, upstreams []digest) string {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(rest[:], uint64(len(hosts))))
	block := make([]byte, 0, blockSize*len(digest{}))
	for _, list := range [][]digest{hosts, upstreams} {
		for some := range slices.Chunk(list, blockSize) {
			block = block[:0]
			for i := range some {
				block = append(block, some[i][:]...)
			}
			h.Write(block)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// blockSize is how many hashes are hashed at a time: all at once would take memory,
// and each by itself time.
const blockSize = 64
