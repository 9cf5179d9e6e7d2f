package pki

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// sealKey derives a key that keeps seals apart from every other use of the
// authority's own key.
func sealKey(keyPEM []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, keyPEM, nil, "interlock seal", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the key for seals: %w", err)
	}
	return key, nil
}

// Seal returns a mark for a list of words that only this authority can make:
// whoever may write labels but does not have the authority's key cannot. The
// same words give the same mark, of 32 hexadecimal digits.
func (a *Authority) Seal(words ...string) string {
	mac := hmac.New(sha256.New, a.sealKey)
	for _, word := range words {
		// The lengths keep ("a", "bc") and ("ab", "c") apart.
		fmt.Fprintf(mac, "%d:%s", len(word), word)
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
