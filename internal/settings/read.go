package settings

import (
	"slices"
	"strconv"
	"strings"
)

// member is a key of a table with all that the file says about it.
type member struct {
	entry
	// mentions are the places that name it, the first one included.
	mentions []entry
}

// members groups a table's entries: fold says which names are the same. What
// is given twice is reported, and its first value taken.
func (r *reader) members(path string, t *node) []member {
	at := make(map[string]int, len(t.entries))
	var list []member
	for _, e := range t.entries {
		folded := strings.ToLower(e.name)
		if i, ok := at[folded]; ok {
			list[i].mentions = append(list[i].mentions, e)
			continue
		}
		at[folded] = len(list)
		list = append(list, member{e, []entry{e}})
	}
	for i := range list {
		if len(list[i].mentions) > 1 {
			r.join(path, &list[i])
		}
	}
	return list
}

// join makes one value of several mentions: tables of which at most one has a
// header of its own add up, all else is given twice and dropped.
func (r *reader) join(path string, m *member) {
	first := m.mentions[0]
	sum := *first.value
	sum.entries = slices.Clone(sum.entries)
	kept := m.mentions[:1]
	for _, e := range m.mentions[1:] {
		if !sum.extensible() || !e.value.extensible() || sum.headed && e.value.headed {
			r.fault(e.offset, pathOf(path, e.name), "this is given twice, first on line %d%s; take one of the two out",
				r.source.line(first.offset), otherwise(first.name, e.name))
			continue
		}
		sum.entries = append(sum.entries, e.value.entries...)
		sum.headed = sum.headed || e.value.headed
		kept = append(kept, e)
	}
	m.value, m.mentions = &sum, kept
}

func otherwise(first, second string) string {
	if first == second {
		return ""
	}
	return " as " + keyName(first) + " (case does not matter)"
}

// readKeys reads the members that keys describe into to. It returns the value
// of each key that is given by the key's name, and the members left over.
func readKeys[T any](r *reader, path string, list []member, keys []key[T], to *T) (given map[string]*node, rest []member) {
	given = map[string]*node{}
	for _, m := range list {
		i := slices.IndexFunc(keys, func(k key[T]) bool { return strings.EqualFold(k.name, m.name) })
		if i < 0 {
			rest = append(rest, m)
			continue
		}
		k := keys[i]
		// Old tools write every key: one without a value is as good as absent.
		if m.value.form == formString && m.value.text == "" && !k.required {
			continue
		}
		given[k.name] = m.value
		k.read(&input{r: r, path: pathOf(path, m.name), key: k.name}, m.value, to)
		if k.void != "" {
			r.notice(pathOf(path, k.name), "has no effect: %s.", k.void)
		}
	}
	return given, rest
}

// missing reports required keys that are not given in the table at offset.
func missing[T any](r *reader, path string, offset int, keys []key[T], given map[string]*node) {
	for _, k := range keys {
		if k.required && given[k.name] == nil {
			r.fault(offset, pathOf(path, k.name), "this key is missing; write %s = %s", k.name, k.example)
		}
	}
}

// unknown reports a key that its table does not know; here lists those that it
// does.
func (r *reader) unknown(path string, m member, here []string) {
	if r.full() {
		r.omitted++
		return
	}
	const message = "unknown key; "
	hint := "docs/configuration.md lists the keys"
	if home := homeOf(m.name); home != "" {
		hint = "it belongs " + home
	} else if near := nearest(m.name, here); near != "" {
		hint = "did you mean " + near + "?"
	}
	r.fault(m.offset, pathOf(path, m.name), "%s", message+hint)
}

// homeOf names the table that knows a key; it is asked for keys that the
// table they stand in does not know.
func homeOf(name string) string {
	for _, table := range []struct {
		header string
		keys   []string
	}{
		{"at the top of the file, before any [table]", names(coreKeys)},
		{"in [Extensions.NAME]", append(names(extensionKeys), configKey)},
		{"in [Extensions.NAME.Config]", names(optionKeys)},
	} {
		if spelling(name, table.keys) != "" {
			return table.header
		}
	}
	return ""
}

func pathOf(table, name string) string {
	if table == "" {
		return keyName(name)
	}
	return table + "." + keyName(name)
}

// keyName is a key's name as it would be written in the file.
func keyName(name string) string {
	bare := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	if name == "" || strings.ContainsFunc(name, func(c rune) bool { return !bare(c) }) || shorten(name) != name {
		return strconv.Quote(shorten(name))
	}
	return name
}
