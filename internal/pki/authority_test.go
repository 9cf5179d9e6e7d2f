package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
)

// operatorCA is a certificate that an operator made elsewhere.
type operatorCA struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newOperatorCA(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) operatorCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example Corp CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return operatorCA{key, cert}
}

func (o operatorCA) certPEM() []byte { return block("CERTIFICATE", o.cert.Raw) }

func (o operatorCA) pkcs8PEM(t *testing.T) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(o.key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAnAuthorityIsTheSameAfterItWasStored(t *testing.T) {
	made, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	read, err := pki.ParseAuthority(made.PEM())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read.PEM(), made.PEM()) || read.Fingerprint() != made.Fingerprint() {
		t.Error("the authority that was read is another one")
	}
	if bytes.Contains(read.CertificatePEM(), []byte("PRIVATE KEY")) {
		t.Error("the private key stands beside the certificate that is given to everybody")
	}
}

func TestAnOperatorsAuthorityIsTaken(t *testing.T) {
	ec := newOperatorCA(t, ecKey(t), nil)
	sec1, err := x509.MarshalECPrivateKey(ec.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	withRSA := newOperatorCA(t, rsaKey, nil)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	withEd := newOperatorCA(t, edKey, nil)
	root := newOperatorCA(t, ecKey(t), func(c *x509.Certificate) { c.Subject.CommonName = "Example Corp root" })
	for name, data := range map[string][]byte{
		"EC, PKCS #8":                    join(ec.certPEM(), ec.pkcs8PEM(t)),
		"EC, SEC 1 with parameters":      join(block("EC PARAMETERS", []byte{6, 1, 0}), block("EC PRIVATE KEY", sec1), ec.certPEM()),
		"RSA, PKCS #1":                   join(withRSA.certPEM(), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))),
		"Ed25519":                        join(withEd.certPEM(), withEd.pkcs8PEM(t)),
		"a chain, the signer first":      join(ec.certPEM(), root.certPEM(), ec.pkcs8PEM(t)),
		"a chain, the signer last":       join(root.certPEM(), ec.certPEM(), ec.pkcs8PEM(t)),
		"words between the blocks":       join([]byte("Bag Attributes\n"), ec.certPEM(), []byte("\nfriendlyName: x\n"), ec.pkcs8PEM(t)),
		"without any key usage at all":   certAndKey(t, func(c *x509.Certificate) { c.KeyUsage = 0 }),
		"one that has a path length 0":   certAndKey(t, func(c *x509.Certificate) { c.MaxPathLenZero = true }),
		"one that signs revocations too": certAndKey(t, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }),
	} {
		t.Run(name, func(t *testing.T) {
			authority, err := pki.ParseAuthority(data)
			if err != nil {
				t.Fatal(err)
			}
			identity, err := authority.Issue(pki.Name{Role: pki.RoleCore}, time.Now(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pki.NewIdentity(identity); err != nil {
				t.Error(err)
			}
		})
	}
}

func certAndKey(t *testing.T, change func(*x509.Certificate)) []byte {
	ca := newOperatorCA(t, ecKey(t), change)
	return join(ca.certPEM(), ca.pkcs8PEM(t))
}

func TestAnAuthorityThatCannotBeOneIsNamedAsSuch(t *testing.T) {
	good := newOperatorCA(t, ecKey(t), nil)
	other := newOperatorCA(t, ecKey(t), nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":             {nil, "no private key"},
		"no key":              {good.certPEM(), "no private key"},
		"no certificate":      {good.pkcs8PEM(t), "no certificate"},
		"somebody else's key": {join(good.certPEM(), other.pkcs8PEM(t)), "belongs to none of the 1 certificates"},
		"two keys":            {join(good.certPEM(), good.pkcs8PEM(t), other.pkcs8PEM(t)), "more than one private key"},
		"an encrypted key":    {join(good.certPEM(), block("ENCRYPTED PRIVATE KEY", []byte{1})), "encrypted"},
		"a broken key":        {join(good.certPEM(), block("PRIVATE KEY", []byte{1})), "reading the private key"},
		"a broken certificate": {
			join(block("CERTIFICATE", []byte{1}), good.pkcs8PEM(t)), "reading a certificate",
		},
		"a weak key": {join(good.certPEM(), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak))), "too weak"},
		"not a CA": {
			certAndKey(t, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }), "CA:TRUE",
		},
		"a CA that may not sign": {
			certAndKey(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), "does not include signing certificates",
		},
		"expired":       {certAndKey(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "expired on"},
		"not yet valid": {certAndKey(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "valid only from"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pki.ParseAuthority(test.data)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestAnIdentityDoesNotOutliveItsAuthority(t *testing.T) {
	now := time.Now()
	authority, err := pki.NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	late := now.Add(pki.AuthorityLifetime - time.Hour)
	data, err := authority.Issue(pki.Name{Role: pki.RoleCore}, late, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := pki.NewIdentity(data)
	if err != nil {
		t.Fatal(err)
	}
	if limit := now.Add(pki.AuthorityLifetime); identity.Expires().After(limit) {
		t.Errorf("it expires on %s, after its authority on %s", identity.Expires(), limit)
	}
	if _, err := authority.Issue(pki.Name{Role: pki.RoleCore}, late.Add(2*time.Hour), time.Hour); err == nil || !strings.Contains(err.Error(), "expired on") {
		t.Errorf("an expired authority issues: %v", err)
	}
}

func TestARequestGetsTheNameOfItsCallerAndNotItsOwn(t *testing.T) {
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "Interlock core"}, DNSNames: []string{"elsewhere.example.com"},
	}, ecKey(t))
	if err != nil {
		t.Fatal(err)
	}
	der, err := authority.Sign(csr, pki.Name{Role: pki.RoleProxy, Cluster: "us-east"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != "interlock://proxy/us-east" || len(cert.DNSNames) != 1 || cert.DNSNames[0] == "elsewhere.example.com" {
		t.Errorf("the certificate is for %v, %v", cert.URIs, cert.DNSNames)
	}
	if cert.Subject.CommonName != "Interlock proxy" || cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("the certificate says %q, CA %v, usage %v", cert.Subject, cert.IsCA, cert.KeyUsage)
	}
}

func TestABadRequestIsNotSigned(t *testing.T) {
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	good, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ecKey(t))
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	core := pki.Name{Role: pki.RoleCore}
	for name, sign := range map[string]func() ([]byte, error){
		"garbage":      func() ([]byte, error) { return authority.Sign([]byte("x"), core, time.Now(), time.Hour) },
		"forged":       func() ([]byte, error) { return authority.Sign(forged, core, time.Now(), time.Hour) },
		"no lifetime":  func() ([]byte, error) { return authority.Sign(good, core, time.Now(), 0) },
		"unknown role": func() ([]byte, error) { return authority.Sign(good, pki.Name{Role: "king"}, time.Now(), time.Hour) },
		"a core's cluster": func() ([]byte, error) {
			return authority.Sign(good, pki.Name{Role: pki.RoleCore, Cluster: "x"}, time.Now(), time.Hour)
		},
		"a huge cluster": func() ([]byte, error) {
			return authority.Sign(good, pki.Name{Role: pki.RoleProxy, Cluster: strings.Repeat("x", 256)}, time.Now(), time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if der, err := sign(); err == nil {
				t.Errorf("it was signed: %x", der)
			}
		})
	}
}

func TestRenewalFallsDueInTheLastThird(t *testing.T) {
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	end := begin.Add(90 * 24 * time.Hour)
	if got, want := pki.RenewAt(begin, end), begin.AddDate(0, 0, 60); !got.Equal(want) {
		t.Errorf("a certificate of 90 days is due at %s, want %s", got, want)
	}
}
