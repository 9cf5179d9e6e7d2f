package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
	minRSABits       = 2048
)

// keyPair is a private key, the certificate of its public key, and whatever
// certificates came along.
type keyPair struct {
	key         crypto.Signer
	certificate *x509.Certificate
	others      []*x509.Certificate
}

// parseKeyPair reads one private key and at least one certificate, in any
// order, and finds the certificate that belongs to the key.
func parseKeyPair(data []byte) (keyPair, error) {
	var pair keyPair
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if err := pair.add(block); err != nil {
			return keyPair{}, err
		}
	}
	if pair.key == nil {
		return keyPair{}, errors.New("there is no private key in PEM form")
	}
	if len(pair.others) == 0 {
		return keyPair{}, errors.New("there is no certificate in PEM form")
	}
	return pair, pair.match()
}

func (p *keyPair) add(block *pem.Block) error {
	switch {
	case block.Type == certificateBlock:
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("reading a certificate: %w", err)
		}
		p.others = append(p.others, certificate)
	case strings.HasSuffix(block.Type, keyBlock):
		if p.key != nil {
			return errors.New("there is more than one private key")
		}
		key, err := parseKey(block)
		if err != nil {
			return fmt.Errorf("reading the private key: %w", err)
		}
		p.key = key
	}
	// Anything else, such as the EC PARAMETERS that openssl writes before a key,
	// says nothing that the key does not.
	return nil
}

// match takes the certificate of the key out of the others.
func (p *keyPair) match() error {
	for i, certificate := range p.others {
		if samePublicKey(certificate.PublicKey, p.key.Public()) {
			p.certificate = certificate
			p.others = append(p.others[:i:i], p.others[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("the private key belongs to none of the %d certificates beside it", len(p.others))
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	if block.Type == "ENCRYPTED "+keyBlock || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("it is encrypted: give it without a passphrase")
	}
	key, err := parseKeyBytes(block)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, checkPublicKey(signer.Public())
}

func parseKeyBytes(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case keyBlock:
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%q is not a form that is known here: give it as PKCS #8", block.Type)
	}
}

// checkPublicKey accepts the kinds of keys that TLS 1.3 can use.
func checkPublicKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("an RSA key of %d bits is too weak: it needs at least %d", bits, minRSABits)
		}
		return nil
	default:
		return fmt.Errorf("a key of type %T is of no use here: it must be ECDSA, Ed25519 or RSA", key)
	}
}

func samePublicKey(a, b crypto.PublicKey) bool {
	comparable, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(b)
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}
