package render

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/problem"
)

// Certificate is a pair that proxies take: read, and found to belong together.
type Certificate struct {
	pair Pair
	leaf *x509.Certificate
}

// ReadCertificate checks that a pair can be used at all, whatever it is for. A
// proxy that is given a file which it cannot read refuses it for everybody, so
// the pair is written anew from what was read: nothing else of it remains.
func ReadCertificate(p Pair) (*Certificate, error) {
	chain, err := readChain(p.Chain)
	if err != nil {
		return nil, err
	}
	key, err := readKey(p.Key)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, c := range chain {
		if err := strong(c); err != nil {
			return nil, fmt.Errorf("the certificate of %.80q %w", c.Subject.String(), err)
		}
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes all
	}
	made := &Certificate{pair: Pair{Chain: text.Bytes(), Key: pem.EncodeToMemory(key)}, leaf: chain[0]}
	if _, err := tls.X509KeyPair(made.pair.Chain, made.pair.Key); err != nil {
		return nil, fmt.Errorf("certificate and key do not make a pair (the server's own certificate comes first): %w", err)
	}
	return made, nil
}

func readChain(data []byte) (chain []*x509.Certificate, err error) {
	blocks, err := blocks(data)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain cannot be read: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in PEM")
	}
	return chain, nil
}

func readKey(data []byte) (*pem.Block, error) {
	blocks, err := blocks(data)
	if err != nil {
		return nil, err
	}
	var key *pem.Block
	for _, b := range blocks {
		switch {
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
			continue
		case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["Proc-Type"] != "":
			return nil, errors.New("the key is encrypted, and nobody is there to type the pass phrase")
		case key != nil:
			return nil, errors.New("there is more than one key")
		}
		key = &pem.Block{Type: b.Type, Bytes: b.Bytes}
	}
	if key == nil {
		return nil, errors.New("there is no key in PEM")
	}
	return key, nil
}

// blocks reads PEM. What looks like a block and is none is skipped by Go's
// reader and fails others, so it is an error here.
func blocks(data []byte) ([]*pem.Block, error) {
	var list []*pem.Block
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		list = append(list, b)
	}
	if begun := bytes.Count(data, []byte("-----BEGIN ")); begun != len(list) {
		return nil, fmt.Errorf("of %d PEM blocks %d can be read", begun, len(list))
	}
	return list, nil
}

// minRSA is in bits. OpenSSL refuses less, and weak signatures, at the security
// level 2 that Debian sets.
const minRSA = 2048

func strong(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return fmt.Errorf("has an RSA key of %d bits; %d are the least", key.N.BitLen(), minRSA)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return errors.New("has a key that is neither RSA, ECDSA nor Ed25519")
	}
	// Nobody looks at the signature with which a certificate signs itself.
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		return nil
	}
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("is signed with %s, which is not safe", c.SignatureAlgorithm)
	}
	return nil
}

// Pair is what proxies get.
func (c *Certificate) Pair() Pair { return c.pair }

// Findings says what clients will say of the certificate when it is used for a
// host now; material is the name that it was found under.
func (c *Certificate) Findings(host, material string, now time.Time) []Finding {
	var list []Finding
	add := func(kind problem.Kind, format string, args ...any) {
		text := fmt.Sprintf("the certificate in the secret %s ", material) + fmt.Sprintf(format, args...)
		list = append(list, Finding{Host: host, Kind: kind, Text: text + "; it is served all the same, and clients refuse it"})
	}
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(c.leaf.NotAfter):
		add(problem.CertExpired, "expired on %s", c.leaf.NotAfter.UTC().Format(day))
	case now.Before(c.leaf.NotBefore):
		add(problem.CertExpired, "is not valid before %s", c.leaf.NotBefore.UTC().Format(day))
	}
	// A name that only a wildcard can match stands for those below one.
	if err := c.leaf.VerifyHostname(strings.Replace(host, "*.", "interlock.", 1)); err != nil {
		add(problem.CertName, "is for %s and not for %s", c.names(), host)
	}
	return list
}

func (c *Certificate) names() string {
	const shown = 5
	names := slices.Clone(c.leaf.DNSNames[:min(len(c.leaf.DNSNames), shown)])
	for i, name := range names {
		names[i] = fmt.Sprintf("%.100q", name)
	}
	switch more := len(c.leaf.DNSNames) - shown; {
	case len(names) == 0:
		return "no host name (a common name does not count)"
	case more > 0:
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
