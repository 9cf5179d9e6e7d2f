package pki

import (
	"crypto/tls"
	"fmt"
	"slices"
)

// ServerConfig is for a port where only parties of the allowed roles may speak.
// Everything older than TLS 1.3 is refused, and so is a party of another service
// cluster than this identity's (the core belongs to all). Sessions are never
// resumed: every connection proves its names anew.
func (i *Identity) ServerConfig(allowed ...Role) *tls.Config {
	return i.serverConfig(tls.RequireAndVerifyClientCert, allowed)
}

// ServerConfigOptionalClient is ServerConfig for a port that also answers
// clients without a certificate: what those may ask is for the caller to
// enforce. A client that shows a certificate must pass as with ServerConfig.
func (i *Identity) ServerConfigOptionalClient(allowed ...Role) *tls.Config {
	return i.serverConfig(tls.VerifyClientCertIfGiven, allowed)
}

func (i *Identity) serverConfig(clientAuth tls.ClientAuthType, allowed []Role) *tls.Config {
	allowed = slices.Clone(allowed)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		ClientAuth:             clientAuth,
		ClientCAs:              i.roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return i.certificate(), nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 && clientAuth == tls.VerifyClientCertIfGiven {
				return nil
			}
			return i.admit(state, allowed)
		},
	}
}

func (i *Identity) admit(state tls.ConnectionState, allowed []Role) error {
	name, err := PeerName(state)
	if err != nil {
		return err
	}
	if !slices.Contains(allowed, name.Role) {
		return fmt.Errorf("%s has no business here: this is %s", name, i.name)
	}
	if name.Role != RoleCore && i.name.Role != RoleCore && name.Cluster != i.name.Cluster {
		return fmt.Errorf("%s is of another service cluster: this is %s", name, i.name)
	}
	return nil
}

// ClientConfig is for dialling a party that must be exactly peer, whatever its
// address is.
func (i *Identity) ClientConfig(peer Name) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    i.roots,
		ServerName: serverName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.certificate(), nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			name, err := PeerName(state)
			if err != nil {
				return err
			}
			if name != peer {
				return fmt.Errorf("the one who answers is %s instead of %s", name, peer)
			}
			return nil
		},
	}
}
