package bench

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// steps is how long after an event the parts of Interlock had each done what they
// do about it, as their logs say, in the order of the parts.
type steps [3][]time.Duration

// parts are who logs what when it is done.
var parts = [len(steps{})]struct{ service, says string }{
	{"interlock", "table published"},
	{"interlock-ext", "bundle handed to the core"},
	{"interlock-proxy", "bundle served"},
}

// settledAfter is when everybody has logged what there was to be.
const settledAfter = 500 * time.Millisecond

// follow reads what came of an event. Where a part has not logged anything since,
// as none was to be, nothing is added.
func (s *steps) follow(b *testing.B, event time.Time) {
	b.Helper()
	time.Sleep(settledAfter)
	for i, part := range parts {
		out, err := site.Logs(b.Context(), part.service, "--since", event.Format(time.RFC3339Nano))
		check(b, err)
		if at := lastOf(out, part.says); at.After(event) {
			s[i] = append(s[i], at.Sub(event))
		}
	}
}

var logTime = regexp.MustCompile(`time=(\S+)`)

// lastOf is when a message was logged last; zero: it was not. Of two proxies that
// is the later one.
func lastOf(log, message string) (last time.Time) {
	for line := range strings.Lines(log) {
		found := logTime.FindStringSubmatch(line)
		if found == nil || !strings.Contains(line, `msg="`+message+`"`) {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, found[1]); err == nil && at.After(last) {
			last = at
		}
	}
	return last
}

// log writes down all samples, in the order in which they were taken.
func (s *steps) log(b *testing.B, event string) {
	b.Helper()
	for i, part := range parts {
		b.Logf("%s, since %s: %v", part.says, event, rounded(s[i]))
	}
}

// cells are the medians, as of a table's row.
func (s *steps) cells() string {
	cells := make([]string, len(s))
	for i, samples := range s {
		cells[i] = round(samples, 0.5)
	}
	return strings.Join(cells, " | ")
}
