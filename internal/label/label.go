// Package label reads the com.docker.lb. labels of a service into typed
// values. Whoever may create a service writes them, so each has a closed
// grammar: what does not match is a fault, and nothing of a label's text goes
// further down than here but as a parsed value.
//
// It decides nothing about routing and does not look at anything but labels.
package label

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/problem"
)

// Prefix begins the name of every label that Interlock reads.
const Prefix = "com.docker.lb."

// MaxLength limits the length of one label's value, in bytes.
const MaxLength = 64 << 10

// Set is what a service asks for. Absent labels leave zero values, but for
// ContextRoot, BackendMode and UpstreamProtocol, which get their defaults.
type Set struct {
	Hosts          []string // sorted, lower case, without repetition
	Port           uint16
	Network        string
	ServiceCluster string
	DefaultBackend bool

	ContextRoot         string // begins with "/", never ends with it but for "/" itself
	ContextRootRewrite  bool
	SSLCert             string
	SSLKey              string
	SSLOnly             bool
	SSLPassthrough      bool
	SSLBackend          bool
	SSLBackendTLSVerify TLSVerify // empty: the operator decides
	UpstreamProtocol    Protocol
	WebsocketEndpoints  []string // sorted paths
	StickySessionCookie string
	IPHash              bool
	Redirects           []Redirect // sorted by source
	BackendMode         BackendMode
	Weight              *int    // tasks that the service counts as; nil: those that it has
	Balance             Balance // empty: the operator decides
	MaxFails            *int
	FailTimeout         *time.Duration
}

// Redirect sends the requests for one host to another.
type Redirect struct {
	SourceScheme, SourceHost string
	TargetScheme, TargetHost string // the host may carry a port
}

// BackendMode says what stands behind a service's routes.
type BackendMode string

// The backend modes.
const (
	BackendTask BackendMode = "task" // its tasks, each an endpoint
	BackendVIP  BackendMode = "vip"  // its virtual IP, one endpoint
)

// Balance says how requests are spread over tasks.
type Balance string

// The ways to spread.
const (
	BalanceRoundRobin Balance = "round_robin"
	BalanceLeastConn  Balance = "least_conn"
)

// Protocol is what tasks are spoken to in.
type Protocol string

// The protocols.
const (
	HTTP1 Protocol = "http1" // HTTP/1.1
	H2C   Protocol = "h2c"   // HTTP/2 without TLS, by prior knowledge (RFC 9113, section 3.3)
	H2    Protocol = "h2"    // HTTP/2 over TLS
)

// TLSVerify says how the certificate of a TLS backend is verified.
type TLSVerify string

// The ways to verify.
const (
	VerifyNone     TLSVerify = "none"
	VerifyRequired TLSVerify = "required"
)

// Fault is a label that does not say what it should.
type Fault struct {
	Kind    problem.Kind
	Label   string // full name
	Value   string
	Message string
	// Fatal faults keep the service from being routed; the others are only told.
	Fatal bool
}

// Parse reads all labels of a service. The faults are sorted by label, but for
// those of labels that do not fit together, which come last; when one of them is fatal the set must not be used. A set with asked false belongs
// to a service that does not want to be routed at all.
func Parse(labels map[string]string) (set Set, asked bool, faults []Fault) {
	set = Set{ContextRoot: "/", BackendMode: BackendTask, UpstreamProtocol: HTTP1}
	names := make([]string, 0, len(labels))
	for name := range labels {
		if strings.HasPrefix(name, Prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if fault := parseOne(&set, name, labels[name]); fault != nil {
			faults = append(faults, *fault)
		}
	}
	for _, check := range []func(*Set, map[string]string) *Fault{tooManyEndpoints, plainAndSecret} {
		if fault := check(&set, labels); fault != nil {
			faults = append(faults, *fault)
		}
	}
	return set, len(names) > 0, faults
}

// tooManyEndpoints bounds what two labels, each within its limits, make together.
func tooManyEndpoints(set *Set, labels map[string]string) *Fault {
	const name = Prefix + "websocket_endpoints"
	if len(set.Hosts)*len(set.WebsocketEndpoints) <= maxHostEndpoints {
		return nil
	}
	return &Fault{
		Kind: problem.BadLabel, Label: name, Value: Shorten(labels[name]), Fatal: true,
		Message: fmt.Sprintf("%d paths on %d hosts; at most %d of them together are allowed for one service",
			len(set.WebsocketEndpoints), len(set.Hosts), maxHostEndpoints),
	}
}

// plainAndSecret is for a service that asks for TLS and for a protocol without.
// To choose one of the two would send its requests to where they cannot be read,
// or in the clear where they should not be.
func plainAndSecret(set *Set, labels map[string]string) *Fault {
	const name = Prefix + "upstream_protocol"
	if set.UpstreamProtocol != H2C || !set.SSLBackend {
		return nil
	}
	return &Fault{
		Kind: problem.BadLabel, Label: name, Value: Shorten(labels[name]), Fatal: true,
		Message: "h2c is HTTP/2 without TLS, and ssl_backend=true asks for TLS; say upstream_protocol=h2 for HTTP/2 over TLS, or remove ssl_backend",
	}
}

func parseOne(set *Set, name, value string) *Fault {
	def := lookup(strings.TrimPrefix(name, Prefix))
	if def == nil {
		return &Fault{Kind: problem.UnknownLabel, Label: name, Value: Shorten(value), Message: unknownMessage(name)}
	}
	fault := &Fault{Kind: problem.BadLabel, Label: name, Value: Shorten(value), Fatal: true}
	if len(value) > MaxLength {
		fault.Message = fmt.Sprintf("the value is %d bytes long; at most %d are allowed", len(value), MaxLength)
		return fault
	}
	if err := def.parse(set, strings.Trim(value, " \t")); err != nil {
		fault.Message = fmt.Sprintf("%v; expected %s, for example %s=%s", err, def.Grammar, name, def.Example)
		return fault
	}
	return nil
}

// Shorten keeps a value that is quoted in a message readable.
func Shorten(value string) string {
	const limit = 120
	if len(value) <= limit {
		return value
	}
	return strings.ToValidUTF8(value[:limit], "") + "…"
}
