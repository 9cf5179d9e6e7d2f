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

// wildcards are names that stand for all that is below them: by what follows their
// asterisk, in lower case.
type wildcards map[string]bool

// add adds a name if it is a wildcard.
func (w wildcards) add(name string) {
	if strings.HasPrefix(name, "*.") {
		w[strings.ToLower(name[1:])] = true
	}
}

// cover reports whether any of them stands for another name. It looks at the
// domains that the name is in, however many wildcards there are.
func (w wildcards) cover(name string) bool {
	if len(w) == 0 {
		return false
	}
	name = strings.ToLower(name)
	own := strings.TrimPrefix(name, "*") // of a wildcard itself
	for i := range len(name) {
		if name[i] == '.' && w[name[i:]] && (name[i:] != own || own == name) {
			return true
		}
	}
	return false
}
