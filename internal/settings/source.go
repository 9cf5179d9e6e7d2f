package settings

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// source is a file's text and where its lines begin.
type source struct {
	name   string
	data   []byte
	starts []int // offset of each line's first byte
}

func newSource(name string, data []byte) source {
	// Windows editors put a byte order mark in front, which is no part of the text.
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	s := source{name: name, data: data, starts: []int{0}}
	for i, c := range data {
		if c == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line returns the number of the line that holds offset, from 1.
func (s *source) line(offset int) int {
	return sort.SearchInts(s.starts, offset+1)
}

// position returns line and column of offset, both from 1.
func (s *source) position(offset int) (line, column int) {
	offset = min(max(offset, 0), len(s.data))
	line = s.line(offset)
	return line, utf8.RuneCount(s.data[s.starts[line-1]:offset]) + 1
}
