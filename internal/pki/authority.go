package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// Authority says who belongs to an installation: it signs the identities of all
// its parts. It is safe for concurrent use.
type Authority struct {
	key         crypto.Signer
	certificate *x509.Certificate
	pem         []byte
	sealKey     []byte
}

// NewAuthority makes a fresh authority, valid for AuthorityLifetime from now on.
func NewAuthority(now time.Time) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Interlock authority"},
		NotBefore:             backdated(now, AuthorityLifetime),
		NotAfter:              now.Add(AuthorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the authority's certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	return newAuthority(key, certificate)
}

// ParseAuthority reads what PEM wrote, or an operator's own: one private key and
// its certificate, in any order. Further certificates, of a chain above it, may
// stand beside them; they are left out, since every part trusts the signing
// certificate itself. It fails if the certificate may not sign others or is not
// valid at present.
func ParseAuthority(pem []byte) (*Authority, error) {
	pair, err := parseKeyPair(pem)
	if err != nil {
		return nil, fmt.Errorf("the authority: %w", err)
	}
	certificate := pair.certificate
	if !certificate.BasicConstraintsValid || !certificate.IsCA {
		return nil, fmt.Errorf("the authority: %q is not a certificate authority: its certificate must have CA:TRUE", certificate.Subject)
	}
	if certificate.KeyUsage != 0 && certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("the authority: the key usage of %q does not include signing certificates", certificate.Subject)
	}
	if err := checkValidity(certificate, time.Now()); err != nil {
		return nil, fmt.Errorf("the authority: %w", err)
	}
	return newAuthority(pair.key, certificate)
}

func newAuthority(key crypto.Signer, certificate *x509.Certificate) (*Authority, error) {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	seal, err := sealKey(keyPEM)
	if err != nil {
		return nil, err
	}
	certificatePEM := encodeCertificate(certificate.Raw)
	return &Authority{key: key, certificate: certificate, pem: append(certificatePEM, keyPEM...), sealKey: seal}, nil
}

// PEM is the certificate and the private key.
func (a *Authority) PEM() []byte { return bytes.Clone(a.pem) }

// CertificatePEM is the certificate alone.
func (a *Authority) CertificatePEM() []byte { return encodeCertificate(a.certificate.Raw) }

// Fingerprint tells one authority from another: the beginning of the hash of its
// certificate, as 32 hexadecimal digits.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.certificate.Raw)
	return hex.EncodeToString(sum[:16])
}

// Issue makes an identity with a fresh key: its certificate, the key and the
// authority's certificate, as NewIdentity reads them. It does not outlive the
// authority.
func (a *Authority) Issue(name Name, now time.Time, lifetime time.Duration) (pem []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := a.sign(key.Public(), name, now, lifetime)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{encodeCertificate(der), keyPEM, a.CertificatePEM()}, nil), nil
}

// Sign certifies the key of a PKCS #10 request (DER). What the request asks to
// be called is ignored: the name is the caller's to give. The certificate is DER.
func (a *Authority) Sign(request []byte, name Name, now time.Time, lifetime time.Duration) (certificate []byte, err error) {
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate request of %s: %w", name, err)
	}
	if err := parsed.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request of %s does not prove its key: %w", name, err)
	}
	if err := checkPublicKey(parsed.PublicKey); err != nil {
		return nil, fmt.Errorf("the certificate request of %s: %w", name, err)
	}
	return a.sign(parsed.PublicKey, name, now, lifetime)
}

func (a *Authority) sign(key crypto.PublicKey, name Name, now time.Time, lifetime time.Duration) ([]byte, error) {
	if err := name.validate(); err != nil {
		return nil, err
	}
	if lifetime <= 0 {
		return nil, fmt.Errorf("an identity for %s cannot be valid for %s", name, lifetime)
	}
	if err := checkValidity(a.certificate, now); err != nil {
		return nil, fmt.Errorf("the authority: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Interlock " + string(name.Role)},
		NotBefore:    later(backdated(now, lifetime), a.certificate.NotBefore),
		NotAfter:     earlier(now.Add(lifetime), a.certificate.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  usages(name.Role),
		URIs:         []*url.URL{name.uri()},
		DNSNames:     []string{serverName},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %s: %w", name, err)
	}
	return der, nil
}

// usages gives a role the sides of a connection that it can ever be on.
func usages(role Role) []x509.ExtKeyUsage {
	switch role {
	case RoleExtension:
		return []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case RoleProxy:
		return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	default:
		return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
}

func checkValidity(certificate *x509.Certificate, now time.Time) error {
	if now.After(certificate.NotAfter) {
		return fmt.Errorf("the certificate of %q expired on %s: replace it", certificate.Subject, certificate.NotAfter.Format(time.RFC3339))
	}
	if now.Before(certificate.NotBefore) {
		return fmt.Errorf("the certificate of %q is valid only from %s on: is the clock right?", certificate.Subject, certificate.NotBefore.Format(time.RFC3339))
	}
	return nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a private key: %w", err)
	}
	return key, nil
}

func newSerial() (*big.Int, error) {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, errors.New("no randomness for a serial number")
	}
	raw[0] &= 0x7f // a serial number is positive and has at most 20 bytes
	return new(big.Int).SetBytes(raw[:]), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
