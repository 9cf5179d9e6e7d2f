package agent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// vault encrypts what is kept on a volume, with AES-256-GCM.
type vault struct {
	key func() ([]byte, error)
}

// errSealed is what opening fails with where key and content do not belong together.
var errSealed = errors.New("it is damaged, or was written under another identity than the proxy has now")

// seal encrypts content; label is not secret, and must be given again to open.
func (v vault) seal(content []byte, label string) ([]byte, error) {
	aead, err := v.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, content, []byte(label)), nil
}

func (v vault) open(sealed []byte, label string) ([]byte, error) {
	aead, err := v.aead()
	if err != nil {
		return nil, err
	}
	content, err := aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return nil, errSealed
	}
	return content, nil
}

// fingerprint tells keys apart, and tells nothing else of them.
func (v vault) fingerprint() (string, error) {
	key, err := v.key()
	if err != nil {
		return "", fmt.Errorf("there is no storage key: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("fingerprint of a storage key"))
	return hex.EncodeToString(mac.Sum(nil)[:8]), nil
}

// aead takes a random nonce for each sealing and puts it first.
func (v vault) aead() (cipher.AEAD, error) {
	key, err := v.key()
	if err != nil {
		return nil, fmt.Errorf("there is no storage key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("the storage key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("the storage key: %w", err)
	}
	return aead, nil
}
