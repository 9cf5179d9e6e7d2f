package settings

import (
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth is how deep tables and lists may stand in one another. The deepest
// that means anything is a label's name with a table for each of its dots.
const maxDepth = 32

// form is what a value looks like in TOML.
type form int

const (
	formString form = iota
	formInteger
	formFloat
	formBool
	formTime
	formList
	formTable
)

var formNames = [...]string{"a string", "an integer", "a fraction", "a boolean", "a date or time", "a list", "a table"}

// node is one value of a document.
type node struct {
	offset int
	form   form
	text   string  // a string's content, another scalar as it was written
	items  []*node // of a list
	// entries are a table's, in the document's order. A name may occur twice:
	// whether that is a fault depends on what the table is for.
	entries []entry
	latest  map[string]int // last entry of each name
	headed  bool           // the table has a [header] of its own
	dotted  bool           // the table was made by a dotted key
	inline  bool           // the table is written between braces
}

type entry struct {
	name   string
	offset int
	value  *node
}

func newTable(offset int) *node {
	return &node{offset: offset, form: formTable, latest: map[string]int{}}
}

func (t *node) add(name string, offset int, value *node) {
	t.latest[name] = len(t.entries)
	t.entries = append(t.entries, entry{name, offset, value})
}

// open returns the table that a further mention of name adds to, if there is one.
func (t *node) open(name string) *node {
	i, ok := t.latest[name]
	if !ok {
		return nil
	}
	v := t.entries[i].value
	if v.form == formList && len(v.items) > 0 {
		v = v.items[len(v.items)-1]
	}
	if !v.extensible() {
		return nil
	}
	return v
}

// extensible reports whether t is a table that further lines may add to.
func (t *node) extensible() bool { return t.form == formTable && !t.inline }

// child returns the table called name, which it makes where there is none.
func (t *node) child(k part) *node {
	if v := t.open(k.name); v != nil {
		return v
	}
	v := newTable(k.offset)
	t.add(k.name, k.offset, v)
	return v
}

// part is one step of a dotted key.
type part struct {
	name        string
	offset, end int
}

// builder turns the parser's expressions into a tree.
type builder struct {
	r       *reader
	root    *node
	current *node // the table of the last [header]
}

// readDocument parses the file into its top table. complete is false where a
// syntax error ends the reading early.
func readDocument(r *reader) (root *node, complete bool) {
	b := &builder{r: r, root: newTable(0)}
	b.current = b.root
	var p unstable.Parser
	p.Reset(r.source.data)
	for p.NextExpression() {
		b.expression(p.Expression())
	}
	if err := p.Error(); err != nil {
		b.syntax(err)
		return b.root, false
	}
	return b.root, true
}

func (b *builder) syntax(err error) {
	offset := len(b.r.source.data)
	var at *unstable.ParserError
	if errors.As(err, &at) && len(at.Highlight) > 0 {
		// A highlight is a slice of the text: what their capacities differ by
		// is how far into the text it begins.
		offset = cap(b.r.source.data) - cap(at.Highlight)
	}
	reason := err.Error()
	if strings.Contains(reason, "at start of value") {
		reason += " (a string stands in quotes)"
	}
	b.r.fault(offset, "", "this is not TOML: %s; what follows was not read", reason)
}

func (b *builder) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.KeyValue:
		b.assign(b.current, n, 0)
	case unstable.Table:
		b.header(parts(n))
	case unstable.ArrayTable:
		b.listHeader(parts(n))
	}
}

func parts(n *unstable.Node) []part {
	var path []part
	for it := n.Key(); it.Next(); {
		k := it.Node()
		offset := int(k.Raw.Offset)
		path = append(path, part{string(k.Data), offset, offset + int(k.Raw.Length)})
	}
	return path
}

// parent walks to the table that holds the last part of a header's path.
func (b *builder) parent(path []part) *node {
	if len(path) > maxDepth {
		b.tooDeep(path[0].offset)
		return newTable(path[0].offset)
	}
	t := b.root
	for _, k := range path[:len(path)-1] {
		t = t.child(k)
	}
	return t
}

func (b *builder) header(path []part) {
	last := path[len(path)-1]
	parent := b.parent(path)
	t := parent.open(last.name)
	if t != nil && t.dotted {
		b.r.fault(last.offset, "", "TOML does not allow this header: dotted keys on line %d make the same table; write all of it in one place", b.r.source.line(t.offset))
	}
	if t == nil || t.headed {
		t = newTable(last.offset)
		parent.add(last.name, last.offset, t)
	}
	t.headed = true
	b.current = t
}

func (b *builder) listHeader(path []part) {
	last := path[len(path)-1]
	parent := b.parent(path)
	t := newTable(last.offset)
	t.headed = true
	b.current = t
	if i, ok := parent.latest[last.name]; ok && parent.entries[i].value.form == formList {
		list := parent.entries[i].value
		list.items = append(list.items, t)
		return
	}
	parent.add(last.name, last.offset, &node{offset: last.offset, form: formList, items: []*node{t}})
}

// assign adds a key and its value to t.
func (b *builder) assign(t *node, n *unstable.Node, depth int) {
	path := parts(n)
	depth += len(path)
	if depth > maxDepth {
		b.tooDeep(path[0].offset)
		return
	}
	for _, k := range path[:len(path)-1] {
		t = b.dottedChild(t, k)
	}
	last := path[len(path)-1]
	t.add(last.name, last.offset, b.value(n.Value(), b.afterEquals(last.end), depth))
}

// dottedChild returns the table that one step of a dotted key leads to.
func (b *builder) dottedChild(t *node, k part) *node {
	made := t.open(k.name) == nil
	child := t.child(k)
	child.dotted = child.dotted || made
	if !child.dotted {
		b.r.fault(k.offset, "", "TOML does not allow this dotted key: the table %s has a header on line %d; write the key below that", keyName(k.name), b.r.source.line(child.offset))
	}
	return child
}

// afterEquals returns where the value of a key that ends at offset begins.
func (b *builder) afterEquals(offset int) int {
	data := b.r.source.data
	for offset < len(data) && (data[offset] == ' ' || data[offset] == '\t' || data[offset] == '=') {
		offset++
	}
	return offset
}

// value converts a value; offset is where it begins, for those that the
// parser gives no range for.
func (b *builder) value(n *unstable.Node, offset, depth int) *node {
	if depth > maxDepth {
		b.tooDeep(offset)
		return newTable(offset)
	}
	switch n.Kind {
	case unstable.Array:
		list := &node{offset: offset, form: formList}
		for it := n.Children(); it.Next(); {
			at := offset
			if raw := it.Node().Raw; raw.Length > 0 {
				at = int(raw.Offset)
			}
			list.items = append(list.items, b.value(it.Node(), at, depth+1))
		}
		return list
	case unstable.InlineTable:
		t := newTable(offset)
		for it := n.Children(); it.Next(); {
			b.assign(t, it.Node(), depth)
		}
		t.inline = true
		return t
	default:
		return &node{offset: offset, form: scalarForm(n.Kind), text: string(n.Data)}
	}
}

func scalarForm(k unstable.Kind) form {
	switch k {
	case unstable.String:
		return formString
	case unstable.Integer:
		return formInteger
	case unstable.Float:
		return formFloat
	case unstable.Bool:
		return formBool
	default:
		return formTime
	}
}

func (b *builder) tooDeep(offset int) {
	b.r.fault(offset, "", "tables and lists stand more than %d deep in one another here; no setting needs that", maxDepth)
}
