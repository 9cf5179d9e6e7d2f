package nginx

import (
	"slices"
	"strings"
)

// operatorDirective is a directive of the operator's raw lines that stands in
// no block of theirs.
type operatorDirective struct {
	words []string // without their quotes
	text  string   // as it stands, with the semicolon; up to the brace of a block
}

// operatorDirectives takes raw lines apart by nginx's own rules. A line may hold
// several directives. It judges nothing: nginx reads the lines themselves.
func operatorDirectives(lines []string) []operatorDirective {
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(terminated(line) + "\n")
	}
	r := operatorReader{text: text.String()}
	var list []operatorDirective
	for depth := 0; ; {
		s, complete := r.statement()
		if !complete {
			return list
		}
		if depth == 0 && len(s.words) > 0 && s.end != '}' {
			list = append(list, operatorDirective{s.words, r.text[s.start:r.at]})
		}
		depth += s.deeper()
	}
}

type operatorReader struct {
	text string
	at   int
}

// statement is what nginx reads in one go.
type statement struct {
	words []string // without their quotes
	start int      // of the first word
	end   byte     // a semicolon or a brace
}

// deeper is by how much what follows is deeper in blocks.
func (s *statement) deeper() int {
	switch s.end {
	case '{':
		return 1
	case '}':
		return -1
	}
	return 0
}

// statement reads on to behind the next semicolon or brace. One that the text
// ends within is not complete.
func (r *operatorReader) statement() (s statement, complete bool) {
	for r.skipBlank() {
		if c := r.text[r.at]; strings.IndexByte(";{}", c) >= 0 {
			s.end = c
			r.at++
			return s, true
		}
		if len(s.words) == 0 {
			s.start = r.at
		}
		s.words = append(s.words, r.word())
	}
	return s, false
}

// skipBlank goes on to the next word or what ends a directive; false at the end.
func (r *operatorReader) skipBlank() bool {
	comment := false
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '\n':
			comment = false
		case comment || c == ' ' || c == '\t' || c == '\r':
		case c == '#':
			comment = true
		default:
			return true
		}
	}
	return false
}

// word reads the word that begins here, without its quotes.
func (r *operatorReader) word() string {
	var b strings.Builder
	quote := byte(0)
	if c := r.text[r.at]; c == '"' || c == '\'' {
		quote = c
		r.at++
	}
	for ; r.at < len(r.text); r.at++ {
		c := r.text[r.at]
		switch {
		case c == '\\' && r.at+1 < len(r.text):
			r.at++
			b.WriteString(escaped(r.text[r.at]))
			continue
		case quote != 0 && c == quote:
			r.at++
			return b.String()
		case quote == 0 && c == '{' && r.text[r.at-1] == '$':
			// A variable's brace begins no block.
		case quote == 0 && strings.IndexByte(" \t\r\n;{", c) >= 0:
			return b.String()
		}
		b.WriteByte(c)
	}
	return b.String()
}

// escaped is what a backslash and a character stand for.
func escaped(c byte) string {
	switch c {
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'n':
		return "\n"
	}
	return string(c)
}

// directiveNames returns the names of the directives of raw lines.
func directiveNames(list []operatorDirective) map[string]bool {
	names := make(map[string]bool, len(list))
	for _, d := range list {
		names[d.words[0]] = true
	}
	return names
}

// headerDirectives returns the directives of a name that set a header of the
// requests to apps, in their order.
func headerDirectives(list []operatorDirective, name string) []operatorDirective {
	var headers []operatorDirective
	for _, d := range list {
		if d.words[0] == name && len(d.words) > 1 {
			headers = append(headers, d)
		}
	}
	return headers
}

// sets reports whether any of such directives sets a header.
func sets(list []operatorDirective, name keyword) bool {
	return slices.ContainsFunc(list, func(d operatorDirective) bool { return strings.EqualFold(d.words[1], string(name)) })
}
