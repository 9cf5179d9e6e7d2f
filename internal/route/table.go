// Package route decides what is routed where. It knows neither Docker nor any
// proxy: its input is a snapshot, its output a Table and a list of problems.
package route

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
)

// Table is everything that the proxies of one service cluster must know.
// Its lists are sorted, so that equal tables are equal byte for byte.
type Table struct {
	// Hosts are sorted by name.
	Hosts []VirtualHost `json:"hosts"`
	// Default answers for hosts that no virtual host names; nil: nobody does.
	Default *Forward `json:"default,omitempty"`
	// Upstreams are sorted by name and cover every name that an action uses.
	Upstreams []Upstream `json:"upstreams"`
}

// VirtualHost is one host name and what happens to its requests.
type VirtualHost struct {
	Name string `json:"name"`
	// Routes are sorted so that the longest prefix comes first.
	Routes []Route `json:"routes"`
}

// Route sends the requests below a path somewhere.
type Route struct {
	PathPrefix string  `json:"pathPrefix"` // begins with "/"
	Forward    Forward `json:"forward"`
}

// Forward spreads requests over all endpoints of its upstreams alike, so that
// an upstream's share is its share of the endpoints.
type Forward struct {
	Upstreams []string `json:"upstreams"` // sorted, never empty
}

// Upstream is a named pool of endpoints that serve the same thing.
type Upstream struct {
	Name string `json:"name"`
	// Endpoints are sorted by address; empty when the service is known but
	// nothing of it can take a request now.
	Endpoints []Endpoint `json:"endpoints"`
}

// Endpoint is one place that takes requests.
type Endpoint struct {
	Addr netip.AddrPort `json:"addr"`
	Task string         `json:"task"`
}

// Version is the hash of the table's content: equal versions are equal tables.
func (t *Table) Version() string {
	// No value in a table can fail to encode, so the error is always nil.
	content, _ := json.Marshal(t)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}
