package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxFaults is how many faults of one file are told; further ones are counted.
const maxFaults = 100

// Fault is one thing that is wrong with a file.
type Fault struct {
	File string
	// Line and Column count from 1; Column counts characters.
	Line, Column int
	// Key is the whole path of the key, as in Extensions.default.Image; empty
	// where the fault is not about a key.
	Key string
	// Message says what is wrong and what would be right.
	Message string
}

// String is the fault on one line, in the form that editors jump to.
func (f Fault) String() string {
	if f.Key == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Key, f.Message)
}

// Faults is all that is wrong with a file, sorted by position; never empty
// when it is an error.
type Faults []Fault

// Error is one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// finding is a fault whose line and column are not counted yet.
type finding struct {
	offset       int
	key, message string
}

// reader collects what is found while one file is read.
type reader struct {
	source   source
	findings []finding
	omitted  int // findings beyond maxFaults
	notices  []string
}

func newReader(name string, data []byte) *reader {
	return &reader{source: newSource(name, data)}
}

// full reports that a further finding is only counted.
func (r *reader) full() bool { return len(r.findings) >= maxFaults }

func (r *reader) fault(offset int, key, format string, args ...any) {
	if r.full() {
		r.omitted++
		return
	}
	r.findings = append(r.findings, finding{offset, key, fmt.Sprintf(format, args...)})
}

func (r *reader) notice(key, format string, args ...any) {
	r.notices = append(r.notices, key+" "+fmt.Sprintf(format, args...))
}

// result returns the faults, sorted by position.
func (r *reader) result() Faults {
	slices.SortStableFunc(r.findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), strings.Compare(a.key, b.key), strings.Compare(a.message, b.message))
	})
	var faults Faults
	for _, f := range r.findings {
		line, column := r.source.position(f.offset)
		faults = append(faults, Fault{File: r.source.name, Line: line, Column: column, Key: f.key, Message: f.message})
	}
	if r.omitted > 0 {
		last := faults[len(faults)-1]
		last.Key, last.Message = "", fmt.Sprintf("%d more faults are not listed", r.omitted)
		faults = append(faults, last)
	}
	return faults
}
