// Package route decides what is routed where. It knows neither Docker nor any
// proxy: its input is a snapshot, its output a Table and a list of problems.
package route

import (
	"net/netip"
	"time"
)

// Table is everything that the proxies of one service cluster must know.
// Its lists are sorted, so that equal tables are equal byte for byte.
type Table struct {
	// Hosts are sorted by name.
	Hosts []VirtualHost `json:"hosts"`
	// Default has the routes of the hosts that no virtual host names, in the
	// order of a virtual host's; empty: nobody answers for those.
	Default []Route `json:"default,omitempty"`
	// Passthrough are the hosts whose TLS connections are not ended, sorted by
	// name. None of them has a credential.
	Passthrough []Passthrough `json:"passthrough,omitempty"`
	// Upstreams are sorted by name and cover every name that an action uses.
	Upstreams []Upstream `json:"upstreams"`
}

// VirtualHost is one host name and what happens to its requests.
type VirtualHost struct {
	// Name may begin with "*." for every name one or more levels below; a name
	// without goes before it.
	Name string `json:"name"`
	// Redirects are sorted by scheme, each of which is there at most once.
	Redirects []Redirect `json:"redirects,omitempty"`
	// Credential is nil where the host is not served over TLS.
	Credential *Credential `json:"credential,omitempty"`
	// Routes are sorted so that the longest prefix comes first, then by prefix.
	// They hold for the schemes that are not redirected.
	Routes []Route `json:"routes"`
}

// Credential is what a host proves its name with in TLS. Its content is not in
// the table: whoever renders has it at hand.
type Credential struct {
	Chain Material `json:"chain"` // PEM: the certificate, then its issuers'
	Key   Material `json:"key"`   // PEM; equal to Chain where one holds both
	// Asker is the name of the service that asked for it, for findings.
	Asker string `json:"asker"`
}

// Material names a secret content.
type Material struct {
	Name string `json:"name"`
	ID   string `json:"id"` // another one whenever the content is
}

// Passthrough hands the TLS connections of a host, chosen by the name that the
// client asks for, to endpoints as they come.
type Passthrough struct {
	Name string `json:"name"` // as a virtual host's
	// Forward is never by cookie, and to upstreams without TLS of their own:
	// what they get is the client's.
	Forward Forward `json:"forward"`
	// RedirectPlain redirects plain requests for the host to https.
	RedirectPlain bool `json:"redirectPlain,omitempty"`
}

// Redirect answers every request of a scheme with 302 to the target, followed
// by the path and query of the request.
type Redirect struct {
	Scheme string `json:"scheme"` // of the request: "http" or "https"
	Target string `json:"target"` // scheme://host or scheme://host:port
}

// Route sends the requests for a path, and for all below it, somewhere: /app is
// for /app and /app/x, but not for /apple. The longest prefix wins.
type Route struct {
	PathPrefix string `json:"pathPrefix"` // begins with "/"
	// Rewrite puts "/" in place of the prefix before a request is forwarded. A
	// request for the prefix itself is redirected to the prefix with a slash.
	Rewrite bool `json:"rewrite,omitempty"`
	// Websockets are the paths that, with all below them, may be upgraded to
	// websockets and to nothing else, as clients write them: sorted, at or below
	// the prefix, and not below a longer prefix of the same host.
	Websockets []string `json:"websockets,omitempty"`
	// TLSOnly redirects plain requests to https. Where the host has no usable
	// credential they are answered with 503.
	TLSOnly bool    `json:"tlsOnly,omitempty"`
	Forward Forward `json:"forward"`
}

// Forward spreads requests over the endpoints of its upstreams, as Weights says.
// Where no upstream has a weight, all endpoints get alike, so that an upstream's
// share is its share of the endpoints.
type Forward struct {
	// Upstreams are sorted and never empty; all are SpokenToAlike.
	Upstreams []string `json:"upstreams"`
	Affinity  Affinity `json:"affinity,omitzero"`
	// Balance is empty where there is an affinity.
	Balance Balance `json:"balance,omitempty"`
}

// Balance says which endpoint is next.
type Balance string

// The ways to balance. Endpoints of twice the weight get twice as much.
const (
	BalanceDefault    Balance = ""            // as the operator configured the proxies
	BalanceRoundRobin Balance = "round_robin" // each in turn
	BalanceLeastConn  Balance = "least_conn"  // one with few requests at work, or the one with the fewest
)

// Affinity says which requests go to the same endpoint, as long as there is
// one; its zero value says none. At most one field is set.
type Affinity struct {
	// Cookie is a cookie's name: requests with the same value stay together,
	// those without one are spread. Letters, digits and underscores.
	Cookie string `json:"cookie,omitempty"`
	// ClientAddress keeps the requests of one address together.
	ClientAddress bool `json:"clientAddress,omitempty"`
}

// Upstream is a named pool of endpoints that serve the same thing.
type Upstream struct {
	Name string `json:"name"`
	// TLS is nil where the endpoints speak plain HTTP.
	TLS *TLS `json:"tls,omitempty"`
	// Weight is how many endpoints the upstream counts as beside others, however
	// many it has: 0 to MaxWeight, where 0 keeps it from all requests; nil: as
	// many as it has.
	Weight *int `json:"weight,omitempty"`
	// HTTP2 says that the endpoints speak HTTP/2: over TLS where TLS is set, else
	// by prior knowledge (h2c); else they speak HTTP/1.1.
	HTTP2 bool `json:"http2,omitempty"`
	// MaxFails is after how many failures within FailTimeout an endpoint is set
	// aside for as long; 0: never; nil: what the proxy does by itself.
	MaxFails *int `json:"maxFails,omitempty"`
	// FailTimeout is whole seconds; 0: what the proxy does by itself.
	FailTimeout time.Duration `json:"failTimeout,omitempty"`
	// Endpoints are sorted by address; empty when the service is known but
	// nothing of it can take a request now.
	Endpoints []Endpoint `json:"endpoints"`
}

// SpokenToAlike reports whether the endpoints of both take what the other's
// take.
func (u *Upstream) SpokenToAlike(v *Upstream) bool {
	return u.HTTP2 == v.HTTP2 && (u.TLS == v.TLS || u.TLS != nil && v.TLS != nil && *u.TLS == *v.TLS)
}

// TLS is how endpoints that speak TLS are spoken to.
type TLS struct {
	Verify Verify `json:"verify,omitempty"`
}

// Verify says whether an endpoint's certificate must be good: issued by an
// authority that the operator trusts, for the host that the client asked for.
type Verify string

// The ways to verify.
const (
	VerifyDefault  Verify = "" // as the operator configured the proxies
	VerifyNone     Verify = "none"
	VerifyRequired Verify = "required"
)

// Endpoint is one place that takes requests.
type Endpoint struct {
	Addr netip.AddrPort `json:"addr"`
	// Task is empty for a service's virtual IP.
	Task string `json:"task"`
}
