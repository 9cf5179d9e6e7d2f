package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// maxIdentityFile bounds what LoadIdentity reads; a Docker secret is smaller.
const maxIdentityFile = 512 << 10

// Identity is who this process is: a certificate, its key and the authority that
// it trusts. It can be renewed while it is in use and is safe for concurrent use.
type Identity struct {
	name  Name
	roots *x509.CertPool
	// original is the key that came with the identity; renewals leave it.
	original crypto.Signer

	mu      sync.RWMutex
	present *tls.Certificate
	// requested is the key of the last request for renewal; nil when there is none.
	requested crypto.Signer
}

// NewIdentity reads what Authority.Issue wrote. An identity that has expired is
// accepted here, since the work of this process may go on without it; other
// parties will refuse it.
func NewIdentity(pem []byte) (*Identity, error) {
	pair, err := parseKeyPair(pem)
	if err != nil {
		return nil, fmt.Errorf("the identity: %w", err)
	}
	name, err := certificateName(pair.certificate)
	if err != nil {
		return nil, fmt.Errorf("the identity: %w", err)
	}
	roots := x509.NewCertPool()
	for _, authority := range pair.others {
		if authority.IsCA {
			roots.AddCert(authority)
		}
	}
	if err := verify(pair.certificate, roots, pair.certificate.NotBefore); err != nil {
		return nil, fmt.Errorf("the identity of %s: %w", name, err)
	}
	return &Identity{
		name: name, roots: roots, original: pair.key, present: tlsCertificate(pair.certificate, pair.key),
	}, nil
}

// LoadIdentity reads an identity from a file, such as a mounted secret.
func LoadIdentity(path string) (*Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	if info.Size() > maxIdentityFile {
		return nil, fmt.Errorf("reading the identity: %s has %d bytes, which no identity has", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	identity, err := NewIdentity(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return identity, nil
}

// Name is who this process is.
func (i *Identity) Name() Name { return i.name }

// Expires is when the present certificate ceases to be valid.
func (i *Identity) Expires() time.Time { return i.certificate().Leaf.NotAfter }

// RenewAt is when the present certificate should be renewed.
func (i *Identity) RenewAt() time.Time {
	leaf := i.certificate().Leaf
	return RenewAt(leaf.NotBefore, leaf.NotAfter)
}

// RequestRenewal makes a fresh key and a PKCS #10 request (DER) for it. The key
// stays here, in memory, until CompleteRenewal; a later request replaces it.
func (i *Identity) RequestRenewal() (csr []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requested = key
	return csr, nil
}

// CompleteRenewal takes the certificate (DER) for the last requested key. It
// must be valid now, come from the same authority and bear the same name.
// Connections made from now on use it; those that stand are not touched. When it
// fails, the present certificate stays.
func (i *Identity) CompleteRenewal(der []byte) error {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("reading the renewed certificate: %w", err)
	}
	if err := verify(certificate, i.roots, time.Now()); err != nil {
		return fmt.Errorf("the renewed certificate: %w", err)
	}
	name, err := certificateName(certificate)
	if err != nil {
		return fmt.Errorf("the renewed certificate: %w", err)
	}
	if name != i.name {
		return fmt.Errorf("the renewed certificate names %s, but this is %s", name, i.name)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.requested == nil {
		return errors.New("the renewed certificate was not asked for")
	}
	if !samePublicKey(certificate.PublicKey, i.requested.Public()) {
		return errors.New("the renewed certificate is not for the key that was requested last")
	}
	i.present, i.requested = tlsCertificate(certificate, i.requested), nil
	return nil
}

func (i *Identity) certificate() *tls.Certificate {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.present
}

func tlsCertificate(leaf *x509.Certificate, key crypto.Signer) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// verify asks whether one of the authorities signed the certificate and it is
// valid at that time.
func verify(certificate *x509.Certificate, roots *x509.CertPool, at time.Time) error {
	_, err := certificate.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("the authority's certificate does not vouch for it: %w", err)
	}
	return nil
}
