package nginx

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTime is the longest time that an option may name. nginx counts
// milliseconds in 32 bits on some machines.
const maxTime = 20 * 24 * time.Hour

func text(field func(*Options) *string) option {
	return func(o *Options, v any) error {
		s, err := oneLine(v)
		if err == nil && s == "" {
			err = errors.New("must not be empty")
		}
		*field(o) = s
		return err
	}
}

func textOrNone(field func(*Options) *string) option {
	return func(o *Options, v any) (err error) {
		*field(o), err = oneLine(v)
		return err
	}
}

func oneLine(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", wrongType(v, "a text")
	}
	if _, err := quoted(s).text(); err != nil {
		return "", err
	}
	return strings.TrimSpace(s), nil
}

// rawText may span lines; empty leaves the default.
func rawText(field func(*Options) *string) option {
	return func(o *Options, v any) error {
		s, ok := v.(string)
		if !ok {
			return wrongType(v, "a text")
		}
		if strings.Contains(s, "\x00") {
			return errors.New("contains a NUL byte")
		}
		if s = strings.TrimSpace(s); s != "" {
			*field(o) = s
		}
		return nil
	}
}

func lines(field func(*Options) *[]string) option {
	return func(o *Options, v any) error {
		list, ok := v.([]any)
		if !ok {
			return wrongType(v, "a list of texts")
		}
		for _, entry := range list {
			s, ok := entry.(string)
			if !ok {
				return wrongType(entry, "a list of texts")
			}
			if strings.Contains(s, "\x00") {
				return errors.New("contains a NUL byte")
			}
			*field(o) = append(*field(o), s)
		}
		return nil
	}
}

func boolean(field func(*Options) *bool) option {
	return func(o *Options, v any) error {
		b, ok := v.(bool)
		if !ok {
			return wrongType(v, "true or false")
		}
		*field(o) = b
		return nil
	}
}

func integer(lowest, highest int, field func(*Options) *int) option {
	return func(o *Options, v any) error {
		n, err := whole(v)
		if err != nil {
			return err
		}
		if n < int64(lowest) || n > int64(highest) {
			return fmt.Errorf("%d is not from %d to %d", n, lowest, highest)
		}
		*field(o) = int(n)
		return nil
	}
}

// WholeNumber reads a number from lowest to highest in every form in which one
// travels.
func WholeNumber(v any, lowest, highest int) (int, error) {
	var o Options
	err := integer(lowest, highest, func(o *Options) *int { return &o.MaxConnections })(&o, v)
	return o.MaxConnections, err
}

// Time reads a time in every form in which one travels.
func Time(v any) (time.Duration, error) { return timeOf(v) }

// whole accepts the forms in which a whole number travels: as TOML's integer,
// as protobuf's double, and as the text that older files have.
func whole(v any) (int64, error) {
	switch n := v.(type) {
	case int64:
		return n, nil
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), nil
		}
	case string:
		if i, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64); err == nil {
			return i, nil
		}
	}
	return 0, wrongType(v, "a whole number")
}

func workers(o *Options, v any) error {
	if v == "auto" {
		o.WorkerProcesses = 0
		return nil
	}
	return integer(1, 1024, func(o *Options) *int { return &o.WorkerProcesses })(o, v)
}

func timeout(field func(*Options) *time.Duration) option {
	return func(o *Options, v any) error {
		d, err := timeOf(v)
		if err == nil && d < time.Millisecond {
			err = errors.New("must be at least one millisecond")
		}
		*field(o) = d
		return err
	}
}

func timeoutOrNone(field func(*Options) *time.Duration) option {
	return func(o *Options, v any) (err error) {
		*field(o), err = timeOf(v)
		return err
	}
}

// timeOf reads a number of seconds, or nginx's and Go's common spelling such
// as "75s" and "1h30m".
func timeOf(v any) (time.Duration, error) {
	seconds, err := whole(v)
	var d time.Duration
	switch text, isText := v.(string); {
	case err == nil && seconds > int64(maxTime/time.Second):
		d = maxTime + 1
	case err == nil:
		d = time.Duration(seconds) * time.Second
	case isText:
		if d, err = time.ParseDuration(strings.ReplaceAll(text, " ", "")); err != nil {
			return 0, fmt.Errorf("%.80q is not a time such as 75s or 5m", text)
		}
	default:
		return 0, wrongType(v, "a time such as 75s, or a number of seconds")
	}
	if d < 0 || d > maxTime {
		return 0, fmt.Errorf("%v is not a time from 0 to %s", v, maxTime)
	}
	return d, nil
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,12})([kKmMgG]?)$`)

func bytesOf(lowest int64, field func(*Options) *int64) option {
	return func(o *Options, v any) error {
		n, err := sizeOf(v)
		if err == nil && n < lowest {
			err = fmt.Errorf("must be at least %d", lowest)
		}
		*field(o) = n
		return err
	}
}

func sizeOf(v any) (int64, error) {
	if n, err := whole(v); err == nil && n >= 0 && n <= 1<<40 {
		return n, nil
	}
	text, _ := v.(string)
	m := sizePattern.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, wrongType(v, "a size such as 8k or 32m")
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, wrongType(v, "a size such as 8k or 32m")
	}
	n <<= map[string]uint{"k": 10, "m": 20, "g": 30}[strings.ToLower(m[2])]
	if n > 1<<40 {
		return 0, fmt.Errorf("%.80q is more than a terabyte", text)
	}
	return n, nil
}

func buffers(o *Options, v any) error {
	text, _ := v.(string)
	words := strings.Fields(text)
	if len(words) != 2 {
		return wrongType(v, `a number and a size such as "4 8k"`)
	}
	count, err := whole(words[0])
	if err != nil || count < 1 || count > 1024 {
		return fmt.Errorf("%.80q is not a number of buffers from 1 to 1024", words[0])
	}
	each, err := sizeOf(words[1])
	if err != nil {
		return err
	}
	if each < 1 {
		return errors.New("a buffer cannot have a size of 0")
	}
	o.LargeClientHeaderBuffers = Buffers{int(count), each}
	return nil
}

// httpVersion takes what it can make sense of; anything else leaves the
// default, as the reference demands.
func httpVersion(o *Options, v any) error {
	switch v {
	case "1.0", float64(1), int64(1):
		o.HTTPVersion = "1.0"
	}
	return nil
}

var tlsProtocols = []string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}

func protocols(o *Options, v any) error {
	text, _ := v.(string)
	words := strings.Fields(text)
	if len(words) == 0 {
		return wrongType(v, "a list such as \"TLSv1.2 TLSv1.3\"")
	}
	for _, word := range words {
		if !slices.Contains(tlsProtocols, word) {
			return fmt.Errorf("%.80q is not one of %s", word, strings.Join(tlsProtocols, ", "))
		}
	}
	o.SSLProtocols = words
	return nil
}

func oneOf(allowed []string, field func(*Options) *string) option {
	return func(o *Options, v any) error {
		text, _ := v.(string)
		if !slices.Contains(allowed, text) {
			return wrongType(v, "one of "+strings.Join(allowed, ", "))
		}
		*field(o) = text
		return nil
	}
}

func withoutEffect(*Options, any) error { return nil }

func wrongType(v any, want string) error {
	if s, ok := v.(string); ok {
		return fmt.Errorf("%.80q is not %s", s, want)
	}
	return fmt.Errorf("%v is not %s", v, want)
}
