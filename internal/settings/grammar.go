package settings

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// The grammars are those of Docker and Swarm, as far as they can be checked
// without asking them. The checks' errors complete a sentence that begins with
// the value.
var (
	imagePattern   = regexp.MustCompile(`^(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z0-9.+_-]+:[0-9a-fA-F]{32,})?$`)
	servicePattern = regexp.MustCompile(`^[A-Za-z0-9](?:[-_]*[A-Za-z0-9]+)*$`)
	objectPattern  = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$`)
	namePattern    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_.-]*)$`)
	hostPattern    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$`)
)

func checkImage(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("names no image; write one such as interlock-extension:1.0")
	case strings.ContainsAny(s, " \t\r\n"):
		return "", errors.New("holds white space, which no image's name does")
	case strings.Contains(s, "://"):
		return "", errors.New("is a URL; write the image without its scheme, such as registry.example.com/name:1.0")
	case !imagePattern.MatchString(s):
		return "", errors.New("is not an image reference; write [registry/]name[:tag][@digest], the name in lower case")
	}
	return s, nil
}

func checkListenAddress(s string) (string, error) {
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return "", fmt.Errorf("is a port alone; write :%s to listen on all addresses", s)
	}
	host, err := hostPort(s)
	if err != nil {
		return "", err
	}
	if host != "" && !hostName(host) {
		return "", fmt.Errorf("begins with %s, which is neither a host's name nor an address; :8080 listens on all addresses", quote(host))
	}
	return s, nil
}

func checkEndpoint(s string) (string, error) {
	host, err := hostPort(s)
	if err != nil {
		return "", err
	}
	if !hostName(host) {
		return "", errors.New("names no host that could be dialled; write host:port, such as 10.0.0.5:8080")
	}
	return s, nil
}

// hostPort checks the port of a host:port and returns its host.
func hostPort(s string) (string, error) {
	if strings.Contains(s, "://") {
		return "", errors.New("is a URL; write host:port, without a scheme")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("is not host:port, such as 10.0.0.5:8080; an IPv6 address stands in brackets, as in [::1]:8080")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("has no port from 1 to 65535 behind its colon")
	}
	return host, nil
}

func hostName(s string) bool {
	address, _, _ := strings.Cut(s, "%") // an IPv6 zone
	return net.ParseIP(address) != nil || hostPattern.MatchString(s)
}

// maxSocketPath is the greatest length of a unix socket's path on Linux.
const maxSocketPath = 107

func checkDockerURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return "", errors.New("is not a URL; write unix:///var/run/docker.sock or tcp://host:2376")
	}
	switch u.Scheme {
	case "unix":
		if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return "", errors.New("has more than a path; write it as unix:///var/run/docker.sock")
		}
		if len(u.Path) > maxSocketPath {
			return "", fmt.Errorf("is longer than the path of a socket can be, which is %d bytes", maxSocketPath)
		}
		if u.Host != "" || !path.IsAbs(u.Path) || u.Path == "/" {
			return "", errors.New("names no socket by its absolute path; mind the third slash, as in unix:///var/run/docker.sock")
		}
		return s, nil
	case "tcp", "http", "https":
		return s, dockerHost(u)
	case "npipe":
		return "", errors.New("is a Windows pipe, which Interlock does not speak; write unix:// or tcp://")
	}
	return "", fmt.Errorf("has the scheme %s, which Interlock does not speak; write unix://, tcp://, http:// or https://", quote(u.Scheme))
}

func dockerHost(u *url.URL) error {
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("has more than a host and a port; write it as tcp://host:2376")
	}
	if _, err := checkEndpoint(u.Host); err != nil {
		return errors.New("has no host and port to dial; write it as tcp://host:2376")
	}
	return nil
}

// checkPath also keeps out what would need quoting in a proxy's configuration.
func checkPath(s string) (string, error) {
	switch {
	case !path.IsAbs(s):
		return "", errors.New("is not an absolute path; begin it with /")
	case strings.HasSuffix(s, "/"):
		return "", errors.New("is a folder; name a file in it")
	case strings.ContainsAny(s, " \t\r\n\"'`;{}$\\") || !printable(s):
		return "", errors.New("holds a character that a path here must not have: white space, a quote or one of ; { } $ \\")
	case path.Clean(s) != s:
		return "", fmt.Errorf("goes a roundabout way; write %s", quote(path.Clean(s)))
	}
	return s, nil
}

// checkConfigPath keeps the folder that an extension's files go to from being
// the whole file system of the proxy's container.
func checkConfigPath(s string) (string, error) {
	if s, err := checkPath(s); err != nil {
		return s, err
	}
	if path.Dir(s) == "/" {
		return "", fmt.Errorf("stands directly below /, but extensions may write into the folder of this file; give it a folder of its own, as in %s",
			quote("/etc/proxy"+s))
	}
	return s, nil
}

func checkServiceName(s string) (string, error) {
	const most = 63
	if len(s) > most || !servicePattern.MatchString(s) {
		return "", fmt.Errorf("is not a name that Swarm takes for a service; write letters, digits, - and _, at most %d, with a letter or digit at both ends", most)
	}
	return s, nil
}

func checkConfigName(s string) (string, error) {
	const most = 64
	if len(s) > most || !objectPattern.MatchString(s) {
		return "", fmt.Errorf("is not a name that Swarm takes for a config; write letters, digits, -, _ and ., at most %d, with a letter or digit at both ends", most)
	}
	return s, nil
}

// checkCluster takes what the label service_cluster takes.
func checkCluster(s string) (string, error) {
	const most = 128
	if s != "" && (len(s) > most || !namePattern.MatchString(s)) {
		return "", fmt.Errorf("is not a name for a service cluster; write letters, digits, -, _ and ., at most %d, a letter or digit first", most)
	}
	return s, nil
}

func checkNetwork(s string) (string, error) {
	if strings.TrimSpace(s) != s || s == "" || !printable(s) || strings.ContainsAny(s, "/\\") {
		return "", errors.New("is not a network's name; write it as docker network ls does")
	}
	return s, nil
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0
}
