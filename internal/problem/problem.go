// Package problem holds the findings that Interlock has for its users: what
// somebody asked for and did not get, and why. A problem is not an error: the
// part that found it goes on, and everybody else is served.
package problem

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind says what sort of finding a problem is; it is stable enough to alert on.
type Kind string

// The kinds of problems.
const (
	BadLabel       Kind = "bad-label"           // a label's value does not parse
	MissingLabel   Kind = "missing-label"       // a label that routing needs is absent
	UnknownLabel   Kind = "unknown-label"       // a com.docker.lb. label that does not exist
	NoEffect       Kind = "no-effect"           // something is understood but not acted on
	NoSecret       Kind = "no-secret"           // a label names a secret that is not there, or is not for services
	BadCertificate Kind = "bad-certificate"     // a certificate and key cannot be used
	CertExpired    Kind = "expired-certificate" // a certificate is past its time
	CertName       Kind = "certificate-name"    // a certificate is not for the host that it is used for
	NoAddress      Kind = "no-address"          // tasks run, but the proxy can reach none of them
	NotAccepting   Kind = "not-accepting"       // tasks run, but do not accept connections
	Conflict       Kind = "conflict"            // an older service decides otherwise about the same host or path
	ManyNetworks   Kind = "many-networks"       // several networks would do, and no label says which one
	NoNetwork      Kind = "no-network"          // Networks in config.toml names a network that does not exist
	NoCluster      Kind = "no-cluster"          // service_cluster names a cluster nobody serves
	NameTaken      Kind = "name-taken"          // a service of that name exists and is not ours
	PortTaken      Kind = "port-taken"          // a published port is in use on a node
	Stranger       Kind = "stranger"            // a service passes for one of ours and is not
	RolledBack     Kind = "rolled-back"         // Swarm took a change of ours back
	TaskFailing    Kind = "task-failing"        // a service that Interlock keeps cannot start its tasks
	BundleRefused  Kind = "bundle-refused"      // a proxy did not accept a bundle
	BundleTooLarge Kind = "bundle-too-large"    // no Docker config can hold a bundle
	Quarantined    Kind = "quarantined"         // proxies refuse a service, which is left out or kept as it was
	OptionsRefused Kind = "options-refused"     // proxies refuse a table without any service too
	RenderFailed   Kind = "render-failed"       // an extension could not render a table
	Unreachable    Kind = "unreachable"         // a proxy or extension does not answer
	SwarmRefused   Kind = "swarm-refused"       // Swarm did not accept a change
	Stale          Kind = "stale"               // Swarm cannot be read, so nothing follows it
	Doubted        Kind = "doubted"             // Swarm's answers are empty and not believed
	NoConfig       Kind = "no-config"           // config.toml names a Docker config that Swarm does not have
	NoCoreEndpoint Kind = "no-core-endpoint"    // extensions cannot be told where the core is
	Abandoned      Kind = "abandoned"           // a service that Interlock kept and no longer does
)

// Problem is one finding.
type Problem struct {
	Kind Kind
	// Service is the name of the Swarm service that it is about; may be empty.
	Service string
	// Label and Value are the label's full name and its value as given, where
	// the problem is about a label.
	Label string
	Value string
	// Message says what happened and what to do about it, as one or two sentences.
	Message string
}

// String is the whole problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Service != "" {
		fmt.Fprintf(&b, "service %s: ", p.Service)
	}
	if p.Label != "" {
		fmt.Fprintf(&b, "label %s=%q: ", p.Label, p.Value)
	}
	b.WriteString(p.Message)
	return b.String()
}

// Sort orders problems by service, label, kind and message, and drops repetitions.
func Sort(list []Problem) []Problem {
	slices.SortFunc(list, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.Service, b.Service),
			strings.Compare(a.Label, b.Label),
			strings.Compare(string(a.Kind), string(b.Kind)),
			strings.Compare(a.Message, b.Message),
			strings.Compare(a.Value, b.Value),
		)
	})
	return slices.Compact(list)
}
