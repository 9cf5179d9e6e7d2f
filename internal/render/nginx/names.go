package nginx

import (
	"fmt"
	"regexp"
	"strings"
)

// The arguments below are about host names and the TLS connections for them.

// mapKey is a host name as a key of map, where some words have a meaning of
// their own unless a backslash stands before them.
type mapKey string

func (k mapKey) text() (string, error) {
	if _, err := hostName(k).text(); err != nil {
		return "", err
	}
	switch strings.ToLower(string(k)) {
	case "default", "hostnames", "include", "volatile":
		return quoted(`\` + string(k)).text()
	}
	return quoted(k).text()
}

// otherCertificate is the condition that a connection was opened with another
// certificate than this one.
type otherCertificate string

var idPattern = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

func (c otherCertificate) text() (string, error) {
	if !idPattern.MatchString(string(c)) {
		return "", fmt.Errorf("%.80q is not the ID of a certificate", string(c))
	}
	return "($certificate != " + string(c) + ")", nil
}

// overTLS is the place of a plain request behind TLS: at this port, outside.
// Where it stands the name that the client asked for has matched a server's.
type overTLS uint16

func (port overTLS) text() (string, error) {
	if port == 0 || port == 443 {
		return `"https://$host$request_uri"`, nil
	}
	return fmt.Sprintf(`"https://$host:%d$request_uri"`, uint16(port)), nil
}

// covers reports whether a name stands for another: it is a wildcard, and the
// other is below it.
func covers(wildcard, name string) bool {
	suffix, is := strings.CutPrefix(strings.ToLower(wildcard), "*")
	return is && strings.HasSuffix(strings.ToLower(name), suffix) && !strings.EqualFold(wildcard, name)
}
