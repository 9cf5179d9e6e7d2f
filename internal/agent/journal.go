package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/interlock-lb/interlock/internal/render"
)

// journal is what is in the file of the last good bundle after its header: records,
// of which the first has a whole bundle, and each later one what makes another of
// one that is in a record before. The last one is the last good. So a change costs
// as much as it changes, and agents that have the file in common can each add to it.
type journal struct {
	records []record
	end     int64 // of the last record that is there as a whole, in bytes
	cut     bool  // a record follows whose end is missing
}

// record is a line in clear, which names the two bundles and the size of what
// follows, and then the content, encrypted.
type record struct {
	base, version string // no base: the whole bundle is there
	start, size   int64  // of the content
}

const (
	// maxRecords bounds what must be read when an agent starts: with 10,000 keys a
	// record takes 2 ms.
	maxRecords = 128
	// spareRecords is how many bytes the changes may take in any case; beyond that
	// they may take as much as the whole bundle does.
	spareRecords = 1 << 20
	maxLine      = 128     // bytes
	noBase       = "-"     // in a record's line
	journalWord  = "3 "    // the format, which the header has after storeFamily
	maxRecord    = 1 << 30 // bytes
)

var errNoJournal = errors.New("it is damaged: it has no records")

// readJournal finds the records in a file that begins with the header.
func readJournal(file io.ReaderAt, size int64, header string) (*journal, error) {
	begin := make([]byte, len(header))
	if _, err := file.ReadAt(begin, 0); err != nil || string(begin) != header {
		return nil, errNoJournal
	}
	j := &journal{end: int64(len(header))}
	for j.end < size {
		line := make([]byte, min(maxLine, size-j.end))
		if _, err := file.ReadAt(line, j.end); err != nil {
			return nil, err
		}
		r, whole := readLine(line, j.end)
		if !whole || r.start+r.size > size {
			j.cut = true
			break
		}
		j.records, j.end = append(j.records, r), r.start+r.size
	}
	if len(j.records) == 0 || j.records[0].base != "" {
		return nil, errNoJournal
	}
	return j, nil
}

// readLine reads a record's line, which stands at an offset.
func readLine(data []byte, at int64) (r record, ok bool) {
	line, _, found := bytes.Cut(data, []byte("\n"))
	words := strings.Split(string(line), " ")
	if !found || len(words) != 3 {
		return r, false
	}
	size, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil || size < 0 || size > maxRecord {
		return r, false
	}
	r = record{base: words[0], version: words[1], start: at + int64(len(line)) + 1, size: size}
	if r.base == noBase {
		r.base = ""
	}
	return r, true
}

// label is what a record's content is sealed with, so that none can be taken for
// another.
func (r *record) label(header string) string { return header + r.names() }

func (r *record) names() string {
	if r.base == "" {
		return noBase + " " + r.version
	}
	return r.base + " " + r.version
}

// encode is a record as it is in the file.
func (r *record) encode(sealed []byte) []byte {
	return append(fmt.Appendf(nil, "%s %d\n", r.names(), len(sealed)), sealed...)
}

func (j *journal) has(version string) bool {
	return slices.ContainsFunc(j.records, func(r record) bool { return r.version == version })
}

func (j *journal) last() string { return j.records[len(j.records)-1].version }

// takes reports whether there is room for a record of so many bytes.
func (j *journal) takes(size int) bool {
	first := j.records[0]
	changes := j.end - first.start - first.size + int64(size)
	return !j.cut && len(j.records) < maxRecords && changes <= first.size+spareRecords
}

// bases are the bundles of records that were read, for as long as a later record
// names them: with 10,000 keys the list of one's files takes a megabyte.
type bases struct {
	records []record
	last    map[string]int // the last record that a bundle is the base of
	bundles map[string]*render.Bundle
}

func newBases(records []record) *bases {
	b := &bases{records: records, last: make(map[string]int), bundles: make(map[string]*render.Bundle)}
	for i := range records {
		b.last[records[i].base] = i
	}
	return b
}

// of is the base of a record; nil: it has none, or none that was read.
func (b *bases) of(r *record) *render.Bundle { return b.bundles[r.base] }

// passed notes the bundle of the record of that number.
func (b *bases) passed(i int, bundle *render.Bundle) {
	r := &b.records[i]
	b.bundles[r.version] = bundle
	for _, version := range []string{r.base, r.version} {
		if b.last[version] <= i {
			delete(b.bundles, version)
		}
	}
}
