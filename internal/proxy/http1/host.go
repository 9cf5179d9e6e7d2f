package http1

import (
	"bytes"
	"net/netip"
)

var (
	errHost         = bad("the Host is not a name or an address with or without a port")
	errDisagreement = bad("the target and the Host do not agree")
)

// splitAuthority returns the host of a host with or without a port. Lists,
// userinfo and all that is no name are refused.
func splitAuthority(authority []byte) (host []byte, err error) {
	host, port := authority, []byte(nil)
	if len(authority) > 0 && authority[0] == '[' {
		end := bytes.IndexByte(authority, ']')
		if end < 0 || !isIPv6(authority[1:end]) {
			return nil, errHost
		}
		host, port = authority[:end+1], authority[end+1:]
	} else {
		if colon := bytes.IndexByte(authority, ':'); colon >= 0 {
			host, port = authority[:colon], authority[colon:]
		}
		if !isName(host) {
			return nil, errHost
		}
	}
	if len(port) > 0 && !isPort(port) {
		return nil, errHost
	}
	return host, nil
}

// isName reports whether b is a name or an IPv4 address. Of the parts between its
// dots only the last may be empty: some read a name of dots as none at all.
func isName(b []byte) bool {
	return len(b) > 0 && len(b) <= 255 && allIn(b, inHost) && b[0] != '.' && !bytes.Contains(b, []byte(".."))
}

// isPort reports whether b is a colon and a port; there may be none behind it.
func isPort(b []byte) bool {
	if b[0] != ':' || len(b) > len(":65535") {
		return false
	}
	n := 0
	for _, c := range b[1:] {
		if !isDigit(c) {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

func isIPv6(b []byte) bool {
	addr, err := netip.ParseAddr(string(b))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// CanonicalHost appends a host in lower case and without a dot at its end.
func CanonicalHost(dst, host []byte) []byte {
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	for _, c := range host {
		dst = append(dst, lower(c))
	}
	return dst
}
