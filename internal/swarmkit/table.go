package swarmkit

import (
	"slices"
	"strings"
)

// table holds the objects of one kind by ID, in the order of a snapshot. It
// changes no object that it has given out, and no list: the first change after
// that copies the list.
type table[T any] struct {
	id    func(*T) string
	list  []*T
	given bool
	flat  []T // the objects themselves, since they were asked for
}

// share returns the list, nil if it is empty, which the receiver must not change.
func (t *table[T]) share() []*T {
	if len(t.list) == 0 {
		return nil
	}
	t.given = true
	return t.list[:len(t.list):len(t.list)]
}

// values returns the objects themselves, nil if there are none, which the
// receiver must not change. It is the same list until something changes.
func (t *table[T]) values() []T {
	if t.flat == nil {
		for _, v := range t.list {
			t.flat = append(t.flat, *v)
		}
	}
	return t.flat
}

func (t *table[T]) find(id string) (int, bool) {
	return slices.BinarySearchFunc(t.list, id, func(v *T, id string) int { return strings.Compare(t.id(v), id) })
}

// get returns an object, or nil.
func (t *table[T]) get(id string) *T {
	if i, found := t.find(id); found {
		return t.list[i]
	}
	return nil
}

func (t *table[T]) put(v *T) {
	t.own()
	i, found := t.find(t.id(v))
	if found {
		t.list[i] = v
		return
	}
	t.list = slices.Insert(t.list, i, v)
}

func (t *table[T]) remove(id string) {
	if i, found := t.find(id); found {
		t.own()
		t.list = slices.Delete(t.list, i, i+1)
	}
}

// fill replaces all objects, in any order.
func (t *table[T]) fill(list []*T) {
	slices.SortFunc(list, func(a, b *T) int { return strings.Compare(t.id(a), t.id(b)) })
	t.list, t.given, t.flat = list, false, nil
}

func (t *table[T]) own() {
	t.flat = nil
	if t.given {
		t.list, t.given = append(make([]*T, 0, len(t.list)+1), t.list...), false
	}
}
