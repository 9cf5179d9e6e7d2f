package settings

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// kind is a sort of value: what messages and the documentation call it, and
// how it is read.
type kind[V any] struct {
	name    string // with an article, to complete "takes …"
	example string // a TOML literal
	// secret values are never repeated in a message.
	secret bool
	// read returns false if v is not such a value, having said why to in.
	read func(in *input, v *node) (V, bool)
}

// input is the place in the file that a value is read for.
type input struct {
	r    *reader
	path string // the key's whole path
	key  string // its last part
	item bool   // an item of the key's list is read, not all of it
	// trial is set while a correction is tried out: nothing is reported.
	trial bool
}

func (in *input) fault(v *node, format string, args ...any) {
	if !in.trial {
		in.r.fault(v.offset, in.path, format, args...)
	}
}

func (in *input) notice(format string, args ...any) {
	if !in.trial {
		in.r.notice(in.path, format, args...)
	}
}

// is reports whether v has the form that k needs; if not it says what to write.
func (k kind[V]) is(want form, in *input, v *node) bool {
	if v.form == want {
		return true
	}
	if in.trial {
		return false
	}
	if in.r.full() { // what to write need not be found out
		in.r.omitted++
		return false
	}
	if in.item {
		in.fault(v, "%s, but each item of %s is %s; write %s", k.describe(v), in.key, k.name, k.correction(in, v))
	} else {
		in.fault(v, "%s, but %s takes %s; write %s = %s", k.describe(v), in.key, k.name, in.key, k.correction(in, v))
	}
	return false
}

func (k kind[V]) describe(v *node) string {
	if v.form == formList || v.form == formTable || k.secret {
		return "this is " + formNames[v.form]
	}
	return literal(v) + " is " + formNames[v.form]
}

// correction is the literal that v was most likely meant to be, or the kind's
// example.
func (k kind[V]) correction(in *input, v *node) string {
	if k.secret {
		return k.example
	}
	trial := &input{r: in.r, path: in.path, key: in.key, trial: true}
	for _, c := range candidates(v) {
		if _, ok := k.read(trial, c); ok {
			return literal(c)
		}
	}
	return k.example
}

// candidates are other ways to write v.
func candidates(v *node) []*node {
	switch v.form {
	case formList, formTable:
		return nil
	}
	text := func(s string) *node { return &node{form: formString, text: s} }
	list := []*node{
		text(v.text),
		text(v.text + "s"), // a duration without its unit
		text(":" + v.text), // an address without its host
		{form: formList, items: []*node{text(v.text)}},
	}
	if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
		list = append(list, &node{form: formInteger, text: strconv.FormatInt(n, 10)})
	}
	switch strings.ToLower(v.text) {
	case "true", "yes", "on", "1":
		list = append(list, &node{form: formBool, text: "true"})
	case "false", "no", "off", "0":
		list = append(list, &node{form: formBool, text: "false"})
	}
	return list
}

// literal is v as TOML, shortened where it is long.
func literal(v *node) string {
	switch v.form {
	case formString:
		return quote(v.text)
	case formList:
		items := make([]string, len(v.items))
		for i, item := range v.items {
			items[i] = literal(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		return shorten(v.text)
	}
}

// credentials are the user and password of a URL, which may be a secret.
var credentials = regexp.MustCompile(`://[^/@]*@`)

// quote is how messages repeat a string of the file's.
func quote(s string) string {
	return strconv.Quote(shorten(credentials.ReplaceAllString(s, "://…@")))
}

func shorten(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// text is a string that check may refuse or rewrite. The error of check
// completes a sentence that begins with the value.
func text(name, example string, check func(string) (string, error)) kind[string] {
	k := kind[string]{name: name, example: example}
	k.read = func(in *input, v *node) (string, bool) {
		if !k.is(formString, in, v) {
			return "", false
		}
		return checked(in, v, check)
	}
	return k
}

func checked(in *input, v *node, check func(string) (string, error)) (string, bool) {
	if strings.ContainsRune(v.text, 0) {
		in.fault(v, "%s holds a NUL character; take it out", quote(v.text))
		return "", false
	}
	value, err := check(v.text)
	if err != nil {
		in.fault(v, "%s %s", quote(v.text), err)
		return "", false
	}
	return value, true
}

// number is an integer from low to high.
func number(name, example string, low, high int64) kind[int64] {
	k := kind[int64]{name: name, example: example}
	k.read = func(in *input, v *node) (int64, bool) {
		if !k.is(formInteger, in, v) {
			return 0, false
		}
		n, err := integer(v.text)
		if err != nil || n < low || n > high {
			in.fault(v, "%s is out of range; %s takes %s", literal(v), in.key, k.name)
			return 0, false
		}
		return n, true
	}
	return k
}

// integer reads an integer in any of TOML's bases. TOML has no other octal
// notation than 0o17, so a leading zero never means one here.
func integer(text string) (int64, error) {
	digits := strings.ReplaceAll(text, "_", "")
	if strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0o") || strings.HasPrefix(digits, "0b") {
		return strconv.ParseInt(digits, 0, 64)
	}
	return strconv.ParseInt(digits, 10, 64)
}

// flag is true or false.
func flag() kind[bool] {
	k := kind[bool]{name: "`true` or `false`", example: "true"}
	k.read = func(in *input, v *node) (bool, bool) {
		return v.text == "true", k.is(formBool, in, v)
	}
	return k
}

// list is a list of strings of one kind; it is never nil.
func list(name string, of kind[string]) kind[[]string] {
	k := kind[[]string]{name: name, example: "[" + of.example + "]"}
	k.read = func(in *input, v *node) ([]string, bool) {
		if !k.is(formList, in, v) {
			return nil, false
		}
		one := *in
		one.item = true
		values, all := make([]string, 0, len(v.items)), true
		for _, item := range v.items {
			value, ok := of.read(&one, item)
			values, all = append(values, value), all && ok
		}
		return values, all
	}
	return k
}

// words is one of the given words, in whatever case it is written.
func words(example string, allowed ...string) kind[string] {
	name := oneOf(allowed)
	return text(name, strconv.Quote(example), func(s string) (string, error) {
		if word := spelling(s, allowed); word != "" {
			return word, nil
		}
		message := "is not " + name
		if near := nearest(s, allowed); near != "" {
			message += fmt.Sprintf("; did you mean %q?", near)
		}
		return "", errors.New(message)
	})
}

// spelling returns the word among those allowed that s is but for case, or "".
func spelling(s string, allowed []string) string {
	for _, word := range allowed {
		if strings.EqualFold(s, word) {
			return word
		}
	}
	return ""
}

func oneOf(allowed []string) string {
	last := len(allowed) - 1
	return "`" + strings.Join(allowed[:last], "`, `") + "` or `" + allowed[last] + "`"
}

// as turns the values of k into values of another type.
func as[V, W any](k kind[V], convert func(V) W) kind[W] {
	return kind[W]{name: k.name, example: k.example, secret: k.secret, read: func(in *input, v *node) (W, bool) {
		value, ok := k.read(in, v)
		if !ok {
			var none W
			return none, false
		}
		return convert(value), true
	}}
}

// orInteger lets the values of k be written as an integer too.
func orInteger(k kind[string]) kind[string] {
	return kind[string]{name: k.name, example: k.example, read: func(in *input, v *node) (string, bool) {
		if v.form != formInteger {
			return k.read(in, v)
		}
		digits := v.text
		if n, err := integer(v.text); err == nil {
			digits = strconv.FormatInt(n, 10)
		}
		return k.read(in, &node{offset: v.offset, form: formString, text: digits})
	}}
}
