package render

import (
	"cmp"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/problem"
)

// Where keys stand in a proxy's container.
const (
	// SensitiveDir holds the sensitive files of a bundle. It is a tmpfs.
	SensitiveDir = "/run/interlock/tls"
	// MountedDir has the credentials of proxies that have them themselves, each
	// under its name.
	MountedDir = "/run/secrets"
)

// Result is what rendering a table gave.
type Result struct {
	Bundle Bundle
	// Findings say what of the table is not served as it asks for, sorted.
	Findings []Finding
	// Missing are the names of the materials that the table names and whose
	// content was not at hand, sorted. A bundle with any does less than the table
	// says, and gives way to one of the same generation without.
	Missing []string
}

// Finding is something about one host that its owner must know.
type Finding struct {
	Host string
	Kind problem.Kind // stable; others than our own are possible
	Text string       // one or two sentences
}

// SortFindings puts findings into the order that Result promises and drops
// repetitions.
func SortFindings(list []Finding) []Finding {
	slices.SortFunc(list, func(x, y Finding) int {
		return cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(string(x.Kind), string(y.Kind)), strings.Compare(x.Text, y.Text))
	})
	return slices.Compact(list)
}
