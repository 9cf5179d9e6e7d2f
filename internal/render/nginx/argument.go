package nginx

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// argument is one argument of a directive. Each type below is one kind of
// place that text can go to, with the quoting that this place needs.
type argument interface {
	text() (string, error)
}

// maxArgument is the greatest length of an argument in bytes: nginx reads its
// files through a buffer of 4096 bytes and refuses what does not fit.
const maxArgument = 4000

// keyword is written as it stands: for words of this package only, variables
// such as $host among them.
type keyword string

func (k keyword) text() (string, error) { return string(k), nil }

// quoted is any text in a place where nginx looks for no variables.
type quoted string

func (q quoted) text() (string, error) {
	if len(q) > maxArgument {
		return "", fmt.Errorf("a value of %d bytes is too long; nginx takes at most %d", len(q), maxArgument)
	}
	var b strings.Builder
	b.Grow(len(q) + 2)
	b.WriteByte('"')
	for i := range len(q) {
		c := q[i]
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("the control character %#02x in %.80q cannot be written to a configuration file", c, string(q))
		}
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String(), nil
}

// literal is any text in a place where nginx does look for variables. It has no
// way to write a dollar sign there, so none is accepted.
type literal string

func (l literal) text() (string, error) {
	if strings.Contains(string(l), "$") {
		return "", fmt.Errorf("the dollar sign in %.80q would be read as a variable", string(l))
	}
	return quoted(l).text()
}

// hostName is a name in server_name, where "~" would begin a regular
// expression and a lone "*" fail the whole file.
type hostName string

var labelAlphabet = newAlphabet(letters + digits + "_-")

func (h hostName) text() (string, error) {
	labels := strings.TrimPrefix(string(h), "*.")
	if len(h) > 255 || !areLabels(labels) {
		return "", fmt.Errorf("%.80q is not a host name", string(h))
	}
	return `"` + string(h) + `"`, nil
}

// areLabels takes labels with dots between that begin and end with no hyphen.
func areLabels(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !labelAlphabet.spells(label) {
			return false
		}
	}
	return true
}

// pathPrefix is the start of a decoded path in location, where anything but a
// slash at its beginning would be read as a modifier.
type pathPrefix string

// maxPathPrefix is the greatest length in bytes that nginx can match: it keeps
// it in one byte, so a longer one would match paths that are not below it.
const maxPathPrefix = 255

func (p pathPrefix) text() (string, error) {
	if !strings.HasPrefix(string(p), "/") {
		return "", fmt.Errorf("the path %.80q does not begin with a slash", string(p))
	}
	if len(p) > maxPathPrefix {
		return "", fmt.Errorf("the path %.80q of %d bytes is too long; nginx matches at most %d", string(p), len(p), maxPathPrefix)
	}
	return quoted(p).text()
}

// endpoint is the address of an upstream server.
type endpoint netip.AddrPort

func (e endpoint) text() (string, error) {
	addr := netip.AddrPort(e)
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().Zone() != "" || addr.Addr().IsUnspecified() {
		return "", fmt.Errorf("%s is not an address and port that can be connected to", addr)
	}
	return addr.String(), nil
}

type number int64

func (n number) text() (string, error) { return strconv.FormatInt(int64(n), 10), nil }

// duration is written in seconds, or in milliseconds where that is not exact.
type duration time.Duration

func (d duration) text() (string, error) {
	v := time.Duration(d)
	switch {
	case v < 0:
		return "", errors.New("a time cannot be negative")
	case v%time.Second == 0:
		return strconv.FormatInt(int64(v/time.Second), 10) + "s", nil
	default:
		return strconv.FormatInt(v.Milliseconds(), 10) + "ms", nil
	}
}

// size is a number of bytes.
type size int64

func (s size) text() (string, error) {
	switch {
	case s < 0:
		return "", errors.New("a size cannot be negative")
	case s > 0 && s%(1<<20) == 0:
		return strconv.FormatInt(int64(s>>20), 10) + "m", nil
	case s > 0 && s%(1<<10) == 0:
		return strconv.FormatInt(int64(s>>10), 10) + "k", nil
	default:
		return strconv.FormatInt(int64(s), 10), nil
	}
}

func toggle(on bool) keyword {
	if on {
		return "on"
	}
	return "off"
}
