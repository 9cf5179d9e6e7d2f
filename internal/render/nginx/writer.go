package nginx

import (
	"bytes"
	"fmt"
	"strings"
)

// writer writes directives and blocks of an nginx configuration. Text enters
// only through typed arguments, which quote themselves, and through raw, which
// is for the operator's own lines. The first failure stays; what is written
// after it is of no use.
type writer struct {
	buf   bytes.Buffer
	depth int
	err   error
	// taken are the directives of the current level that the operator wrote
	// as raw lines: nginx refuses many of them a second time.
	taken map[string]bool
}

func (w *writer) directive(name keyword, args ...argument) {
	w.line(name, args)
	w.buf.WriteString(";\n")
}

// setting is a directive that gives way to an operator's line of that name.
func (w *writer) setting(name keyword, args ...argument) {
	if !w.taken[string(name)] {
		w.directive(name, args...)
	}
}

// entry is a directive whose name is text too: a line of map.
func (w *writer) entry(key, value argument) {
	text, err := key.text()
	if err != nil && w.err == nil {
		w.err = err
	}
	w.directive(keyword(text), value)
}

func (w *writer) block(name keyword, args []argument, content func()) {
	w.line(name, args)
	w.buf.WriteString(" {\n")
	w.depth++
	content()
	w.depth--
	w.indent()
	w.buf.WriteString("}\n")
}

func (w *writer) line(name keyword, args []argument) {
	w.indent()
	w.buf.WriteString(string(name))
	for _, arg := range args {
		text, err := arg.text()
		if err != nil && w.err == nil {
			w.err = fmt.Errorf("nginx directive %s: %w", name, err)
		}
		w.buf.WriteByte(' ')
		w.buf.WriteString(text)
	}
}

// raw writes the operator's own lines as they stand. Whoever may write
// config.toml decides over the whole proxy anyway.
func (w *writer) raw(lines []string) {
	for _, line := range lines {
		w.indent()
		w.buf.WriteString(terminated(line))
		w.buf.WriteByte('\n')
	}
}

// terminated adds the semicolon that people forget at the end of a line.
func terminated(line string) string {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") || strings.ContainsAny(line[len(line)-1:], ";{}") {
		return line
	}
	return line + ";"
}

const spaces = "                                "

func (w *writer) indent() { w.buf.WriteString(spaces[:min(4*w.depth, len(spaces))]) }
