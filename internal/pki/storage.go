package pki

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
)

// StorageKeySize is the length of a storage key in bytes.
const StorageKeySize = 32

// StorageKey derives (HKDF, RFC 5869) a key for what a process keeps on a disk.
// It comes from the private key that the identity was made with, and so stays
// the same however often the identity is renewed and for every process that was
// given the same identity. Keys for different purposes tell nothing of one another.
func (i *Identity) StorageKey(purpose string) ([]byte, error) {
	secret, err := x509.MarshalPKCS8PrivateKey(i.original)
	if err != nil {
		return nil, fmt.Errorf("encoding the identity's private key: %w", err)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "interlock storage: "+purpose, StorageKeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving a storage key: %w", err)
	}
	return key, nil
}
