package render

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// ReadAuthorities reads certificates in PEM. The error is about the first block
// that is none, as when a key has been pasted in.
func ReadAuthorities(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return list, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the PEM block %d is no certificate, but %.40q", len(list)+1, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the certificate %d cannot be read: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
}
