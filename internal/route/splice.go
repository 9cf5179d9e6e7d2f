package route

import (
	"slices"
	"strings"
)

// edits say what becomes of the elements of a sorted list, by key: another
// value, or nil for those that go.
type edits[T any] map[string]*T

// cut is where an element comes or goes.
type cut[T any] struct {
	at    int
	found bool // there is one before, which goes
	value *T   // nil: none comes
}

// replaces reports whether an element gives way to another.
func (c *cut[T]) replaces() bool { return c.found && c.value != nil }

// cuts finds the places of the edits in a list that is sorted by keys.
func (e edits[T]) cuts(keys []string) []cut[T] {
	sorted := make([]string, 0, len(e))
	for key := range e {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	list := make([]cut[T], 0, len(e))
	at := 0
	for _, key := range sorted {
		i, found := slices.BinarySearchFunc(keys[at:], key, strings.Compare)
		at += i
		if found || e[key] != nil {
			list = append(list, cut[T]{at, found, e[key]})
		}
	}
	return list
}

// splice returns a copy of a list with elements put in and taken out: of makes
// an element out of a value.
func splice[T, E any](list []E, cuts []cut[T], of func(*T) E) []E {
	size := len(list)
	for _, c := range cuts {
		if c.found {
			size--
		}
		if c.value != nil {
			size++
		}
	}
	if size == 0 {
		return nil
	}
	result := make([]E, 0, size)
	from := 0
	for _, c := range cuts {
		result = append(result, list[from:c.at]...)
		from = c.at
		if c.found {
			from++
		}
		if c.value != nil {
			result = append(result, of(c.value))
		}
	}
	return append(result, list[from:]...)
}
