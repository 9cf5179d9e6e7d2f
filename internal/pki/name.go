// Package pki holds the installation's authority and the identities that it
// gives to the core, the extensions and the proxies. Whoever dials finds the
// other side by address but knows it by name: certificates name a role and a
// service cluster and never an address, so that a part may move at any time.
//
// It does not decide where keys are kept, does not watch files and sends
// nothing over the network; renewals travel over the connections of others. It
// has nothing to do with the certificates of the apps behind the proxies, and
// it keeps no list of revoked certificates.
package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Role is what a party does in an installation.
type Role string

// The roles.
const (
	RoleCore      Role = "core"
	RoleExtension Role = "extension"
	RoleProxy     Role = "proxy"
)

// Name is who a party is: its role and the service cluster it works for.
type Name struct {
	Role Role
	// Cluster is the service cluster; empty for the default cluster, and always
	// for the core, which serves all of them.
	Cluster string
}

const (
	nameScheme = "interlock"
	// serverName is what a client asks every party for. It says nothing about
	// which party answers: that is the URI name's work.
	serverName = "interlock.internal"
	// maxCluster keeps the name, and with it the certificate, small.
	maxCluster = 255
)

// String is the name as it stands in certificates, for example
// interlock://proxy/us-east.
func (n Name) String() string { return n.uri().String() }

func (n Name) uri() *url.URL {
	return &url.URL{
		Scheme: nameScheme, Host: string(n.Role),
		Path: "/" + n.Cluster, RawPath: "/" + url.PathEscape(n.Cluster),
	}
}

func (n Name) validate() error {
	switch n.Role {
	case RoleExtension, RoleProxy:
	case RoleCore:
		if n.Cluster != "" {
			return fmt.Errorf("the core serves every service cluster and cannot be named after %q", n.Cluster)
		}
	default:
		return fmt.Errorf("unknown role %q: it must be %s, %s or %s", n.Role, RoleCore, RoleExtension, RoleProxy)
	}
	if len(n.Cluster) > maxCluster || !utf8.ValidString(n.Cluster) {
		return fmt.Errorf("service cluster %q: the name must be UTF-8 of at most %d bytes", n.Cluster, maxCluster)
	}
	return nil
}

// PeerName is the name in the verified certificate of a connection's other
// side. It fails if there is none.
func PeerName(state tls.ConnectionState) (Name, error) {
	if len(state.VerifiedChains) == 0 {
		return Name{}, errors.New("the peer has shown no certificate")
	}
	return certificateName(state.VerifiedChains[0][0])
}

func certificateName(certificate *x509.Certificate) (Name, error) {
	if len(certificate.URIs) != 1 || certificate.URIs[0].Scheme != nameScheme {
		return Name{}, fmt.Errorf("the certificate of %q does not name a part of Interlock", certificate.Subject)
	}
	uri := certificate.URIs[0]
	cluster, _ := strings.CutPrefix(uri.Path, "/")
	name := Name{Role: Role(uri.Host), Cluster: cluster}
	if err := name.validate(); err != nil {
		return Name{}, fmt.Errorf("name %s in a certificate: %w", uri, err)
	}
	// One name has one spelling; whatever else reads alike (a user, a query, a
	// fragment) is not a name.
	if uri.String() != name.String() {
		return Name{}, fmt.Errorf("name %s in a certificate: it should read %s", uri, name)
	}
	return name, nil
}
