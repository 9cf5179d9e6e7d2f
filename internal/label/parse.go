package label

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits on what one service may ask for.
const (
	maxHosts              = 256
	maxWebsocketEndpoints = 64
	maxRedirects          = 64
	maxName               = 128
	// maxHostEndpoints bounds hosts times websocket endpoints. Each pair is some
	// 2.5 KiB of configuration with the longest path.
	maxHostEndpoints = 256
	// maxPath is what nginx can match: it keeps the length of a prefix, to which
	// a slash is added, in one byte. One of 257 would match all that / does.
	maxPath = 254 // bytes
)

var errEmpty = errors.New("the value is empty")

func boolean(field func(*Set) *bool) func(*Set, string) error {
	return func(s *Set, value string) error {
		switch strings.ToLower(value) {
		case "true":
			*field(s) = true
		case "false":
			*field(s) = false
		default:
			return errors.New("not a truth value")
		}
		return nil
	}
}

func parsePort(s *Set, value string) error {
	port, err := number(value, 1, 65535)
	if err != nil {
		return err
	}
	s.Port = uint16(port)
	return nil
}

// number takes decimal ASCII digits only: no sign, no other base.
func number(value string, low, high int) (int, error) {
	if value == "" {
		return 0, errEmpty
	}
	if strings.Trim(value, "0123456789") != "" {
		return 0, errors.New("not a number")
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("not in the range from %d to %d", low, high)
	}
	return n, nil
}

func parseNetwork(s *Set, value string) error {
	if err := name(value, "._-"); err != nil {
		return err
	}
	s.Network = value
	return nil
}

func parseServiceCluster(s *Set, value string) error {
	// Empty names the default cluster, as stack files with a variable that is
	// not set do.
	if value == "" {
		return nil
	}
	if err := name(value, "._-"); err != nil {
		return err
	}
	s.ServiceCluster = value
	return nil
}

func secret(field func(*Set) *string) func(*Set, string) error {
	return func(s *Set, value string) error {
		if err := name(value, "._-"); err != nil {
			return err
		}
		*field(s) = value
		return nil
	}
}

// name accepts what Docker accepts as the name of a network, secret or service:
// it begins with a letter or digit and goes on with those or one of punctuation.
func name(value, punctuation string) error {
	if value == "" {
		return errEmpty
	}
	if len(value) > maxName {
		return fmt.Errorf("longer than %d bytes", maxName)
	}
	for i := range len(value) {
		c := value[i]
		if isAlphanumeric(c) || (i > 0 && strings.IndexByte(punctuation, c) >= 0) {
			continue
		}
		return fmt.Errorf("%q is not allowed at position %d of a name", c, i+1)
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func parseContextRoot(s *Set, value string) error {
	if value == "" {
		s.ContextRoot = "/"
		return nil
	}
	p, err := path(value)
	if err != nil {
		return err
	}
	if p == wellKnown || p == acmeChallenge || strings.HasPrefix(p, acmeChallenge+"/") {
		return errors.New("the path is reserved: whoever answers there gets certificates for the host")
	}
	s.ContextRoot = p
	return nil
}

// Where authorities look for proof that somebody controls a host (RFC 8555,
// 8.3). A service with a context root there could take over a host that it
// only shares; these requests go where all of the host's do.
const (
	wellKnown     = "/.well-known"
	acmeChallenge = wellKnown + "/acme-challenge"
)

// path accepts the unreserved characters of RFC 3986 and the sub-delimiters
// that no proxy gives a meaning, without dot segments, and drops a slash at
// the end. Escapes are refused: proxies disagree on what they match.
func path(value string) (string, error) {
	if !strings.HasPrefix(value, "/") {
		return "", errors.New("a path begins with /")
	}
	if len(value) > maxPath {
		return "", fmt.Errorf("longer than %d bytes", maxPath)
	}
	for i := range len(value) {
		if c := value[i]; !isAlphanumeric(c) && strings.IndexByte("/-._~!+=:@,", c) < 0 {
			return "", fmt.Errorf("%q is not allowed at position %d of a path", c, i+1)
		}
	}
	if value == "/" {
		return value, nil
	}
	trimmed := strings.TrimSuffix(value, "/")
	for segment := range strings.SplitSeq(trimmed[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", errors.New("a path has no empty, . or .. segments")
		}
	}
	return trimmed, nil
}

func parseWebsocketEndpoints(s *Set, value string) error {
	paths := strings.Split(value, ",")
	if len(paths) > maxWebsocketEndpoints {
		return fmt.Errorf("more than %d paths", maxWebsocketEndpoints)
	}
	for _, v := range paths {
		p, err := path(strings.TrimSpace(v))
		if err != nil {
			return fmt.Errorf("%.80q: %w", v, err)
		}
		s.WebsocketEndpoints = append(s.WebsocketEndpoints, p)
	}
	slices.Sort(s.WebsocketEndpoints)
	s.WebsocketEndpoints = slices.Compact(s.WebsocketEndpoints)
	return nil
}

func parseTLSVerify(s *Set, value string) error {
	switch v := TLSVerify(strings.ToLower(value)); v {
	case VerifyNone, VerifyRequired:
		s.SSLBackendTLSVerify = v
		return nil
	}
	return errors.New("no such way to verify")
}

func parseProtocol(s *Set, value string) error {
	switch p := Protocol(strings.ToLower(value)); p {
	case HTTP1, H2C, H2:
		s.UpstreamProtocol = p
		return nil
	}
	return errors.New("no such protocol")
}

func parseBackendMode(s *Set, value string) error {
	switch m := BackendMode(strings.ToLower(value)); m {
	case BackendTask, BackendVIP:
		s.BackendMode = m
		return nil
	}
	return errors.New("no such mode")
}

// parseCookie takes the letters, digits and `_` of RFC 6265's token: what every
// proxy can name in a variable. nginx cannot name a `-`. The prefixes __Host- and __Secure-
// promise what Interlock cannot check.
func parseCookie(s *Set, value string) error {
	if strings.HasPrefix(value, "__") {
		return errors.New("a cookie with a __ prefix makes promises that a proxy cannot keep")
	}
	if err := name(strings.TrimLeft(value, "_"), "_"); err != nil {
		return err
	}
	s.StickySessionCookie = value
	return nil
}

func parseWeight(s *Set, value string) error {
	n, err := number(value, 0, 1000)
	if err != nil {
		return err
	}
	s.Weight = &n
	return nil
}

func parseBalance(s *Set, value string) error {
	switch b := Balance(strings.ToLower(value)); b {
	case BalanceRoundRobin, BalanceLeastConn:
		s.Balance = b
		return nil
	}
	return errors.New("no such way to spread requests")
}

func parseMaxFails(s *Set, value string) error {
	n, err := number(value, 0, 1000)
	if err != nil {
		return err
	}
	s.MaxFails = &n
	return nil
}

func parseFailTimeout(s *Set, value string) error {
	if !isASCII(value) {
		return errors.New("not a duration")
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return errors.New("not a duration")
	}
	if d < time.Second || d > time.Hour {
		return errors.New("out of range")
	}
	if d%time.Second != 0 {
		return errors.New("not whole seconds")
	}
	s.FailTimeout = &d
	return nil
}
