package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"

	"github.com/interlock-lb/interlock/internal/render"
)

// policy is what hosts are served with over TLS that prove themselves with the
// same certificate. Each has tickets of its own, whose keys crypto/tls changes
// every day, and keeps them as long as tables have the certificate.
type policy struct{ config *tls.Config }

// versions are the bounds for TLS; 0: crypto/tls's own.
type versions struct{ least, greatest uint16 }

// certificate is the hash of a chain and its key.
type certificate [sha256.Size]byte

// keyring makes the policies of a table.
type keyring struct {
	credentials   render.Credentials
	versions      versions
	old, policies map[certificate]*policy
}

// policy returns nil for a host whose certificate is not at hand: it is not
// served over TLS.
func (k *keyring) policy(host string) (*policy, error) {
	pair, there := k.credentials[host]
	if !there {
		return nil, nil
	}
	id := identify(pair)
	if p := k.policies[id]; p != nil {
		return p, nil
	}
	p := k.old[id]
	if p == nil {
		read, err := tls.X509KeyPair(pair.Chain, pair.Key)
		if err != nil {
			return nil, fmt.Errorf("its certificate cannot be used: %w", err)
		}
		p = &policy{config: &tls.Config{
			Certificates: []tls.Certificate{read}, NextProtos: []string{"h2", "http/1.1"},
			MinVersion: k.versions.least, MaxVersion: k.versions.greatest,
		}}
	}
	k.policies[id] = p
	return p, nil
}

func identify(p render.Pair) certificate {
	h := sha256.New()
	chain := sha256.Sum256(p.Chain)
	h.Write(chain[:])
	h.Write(p.Key)
	return certificate(h.Sum(nil))
}
