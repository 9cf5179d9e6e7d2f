package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

// maxTime is the longest time that a proxy may be told to wait. HAProxy's
// timers end below 25 days.
const maxTime = 20 * 24 * time.Hour

// The grammars are those of nginx's and HAProxy's own configuration files: a
// value that passes stands there without quotes.
var (
	userPattern    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}(?: [A-Za-z_][A-Za-z0-9_.-]{0,31})?$`)
	accountPattern = regexp.MustCompile(`^[A-Za-z0-9_.@+-]{1,128}$`)
	cipherPattern  = regexp.MustCompile(`^[A-Za-z0-9_+!@=:,.-]+$`)
	syslogPattern  = regexp.MustCompile(`^syslog:server=[A-Za-z0-9_.:,=/\[\]-]+$`)
	timePattern    = regexp.MustCompile(`^(?:\d{1,9}h)?(?:\d{1,9}m)?(?:\d{1,9}s?)?(?:\d{1,9}ms)?$`)
	sizePattern    = regexp.MustCompile(`^(\d{1,12})([kKmMgG]?)$`)
)

// The kinds of values of proxies.
var (
	user        = text("the name of a user, or of a user and a group", `"nginx"`, matching(userPattern, "is not a user's name; write one such as nginx, or a user and a group with one blank between"))
	account     = text("a name: letters, digits, `.`, `_`, `-`, `+`, `@`", `"admin"`, matching(accountPattern, "is not a name for an account; write letters, digits and . _ - + @"))
	ciphers     = text("an OpenSSL list of ciphers", `"HIGH:!aNULL:!MD5"`, matching(cipherPattern, "is not a list of ciphers; write names with colons between, such as HIGH:!aNULL:!MD5"))
	protocols   = text("TLS versions with blanks between", `"TLSv1.2 TLSv1.3"`, checkProtocols)
	verify      = words("required", "none", "optional", "required")
	workers     = orInteger(text("a number from 1 to 1024, or `\"auto\"`", "1", checkWorkers))
	idleTime    = orInteger(text("a time such as `75s` or `1m30s`; 0 is none", `"75s"`, checkTime(0)))
	waitTime    = orInteger(text("a time such as `75s` or `1m30s`", `"60s"`, checkTime(time.Millisecond)))
	bodySize    = orInteger(text("a size such as `8k`, `32m` or `1g`, at most `1024g`", `"32m"`, size("kmg", 0, 1<<40)))
	bufferSize  = orInteger(text("a size from `1` to `1024m`, such as `8k`", `"8k"`, size("km", 1, 1<<30)))
	bufferPairs = text("a number and a size, such as `4 8k`", `"4 8k"`, checkBuffers)
	logFormat   = text("the body of an nginx `log_format`, quotes and closing `;` included", `"'$remote_addr \"$request\"';"`, checkLogFormat)
	logChoice   = words("json", "trace", "main", "json", "off")
	dhBits      = number("a number of bits from 1024 to 8192", "2048", 1024, 8192)
	requests    = number("a number from 1 to 1073741824", "1000", 1, 1<<30)
	perClient   = number("a number from 1 to 1000000", "256", 1, 1_000_000)
	waitSeconds = orInteger(text("a time such as `75s` or `1m30s`, at least `1s`", `"60s"`, checkTime(time.Second)))
	trusted     = as(list("a list of networks", text("a network", `"10.0.0.0/8"`, checkTrusted)), toTexts)
	authorities = text("certificates in PEM", `"""-----BEGIN CERTIFICATE-----…"""`, checkAuthorities)
	connections = number("a number from 16 to 1000000", "1024", 16, 1_000_000)
	files       = number("a number from 64 to 1073741816", "65535", 64, 1_073_741_816)
	bucketSize  = number("a number of bytes from 32 to 65472", "128", 32, 65472)
	zoneSize    = number("a number of KB from 32 to 1048576", "64", 32, 1<<20)
)

func matching(pattern *regexp.Regexp, message string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !pattern.MatchString(s) {
			return "", errors.New(message)
		}
		return s, nil
	}
}

func checkLogPath(s string) (string, error) {
	if strings.HasPrefix(s, "syslog:") {
		return matching(syslogPattern, "is not a log to send to; write syslog:server=10.0.0.5:514")(s)
	}
	return checkPath(s)
}

func checkProtocols(s string) (string, error) {
	known := []string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
	names := strings.Fields(s)
	for i, name := range names {
		names[i] = spelling(name, known)
		if names[i] == "" {
			return "", fmt.Errorf("names %s, which is no TLS version in use; choose among %s", quote(name), strings.Join(known, ", "))
		}
	}
	if len(names) == 0 {
		return "", errors.New("names no TLS version; write TLSv1.2 TLSv1.3")
	}
	return strings.Join(names, " "), nil
}

func checkWorkers(s string) (string, error) {
	if strings.EqualFold(s, "auto") {
		return "auto", nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1024 {
		return "", errors.New(`is not a number of processes; write a number from 1 to 1024, or "auto" for one per processor`)
	}
	return strconv.Itoa(n), nil
}

// checkTime takes nginx's notation, without the units above the hour; a number
// alone counts seconds.
func checkTime(least time.Duration) func(string) (string, error) {
	return func(s string) (string, error) {
		if s == "" || !timePattern.MatchString(s) {
			return "", errors.New("is not a time; write a number and h, m, s or ms, such as 75s or 1m30s")
		}
		if last := s[len(s)-1]; last >= '0' && last <= '9' {
			s += "s"
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < least || d > maxTime {
			return "", fmt.Errorf("is out of range; a time here is from %s to %s", brief(least), brief(maxTime))
		}
		return s, nil
	}
}

// size takes nginx's notation for a number of bytes from low to high with one
// of the given units.
func size(units string, low, high int64) func(string) (string, error) {
	return func(s string) (string, error) {
		match := sizePattern.FindStringSubmatch(s)
		if match == nil {
			return "", errors.New("is not a size in nginx's notation; write a number and k or m, such as 8k")
		}
		unit := strings.ToLower(match[2])
		if !strings.Contains(units, unit) {
			return "", errors.New("has the unit g, which nginx does not take here; write it in m")
		}
		bits := map[string]int{"": 0, "k": 10, "m": 20, "g": 30}[unit]
		n, err := strconv.ParseInt(match[1], 10, 64)
		if err != nil || n > high>>bits || n<<bits < low {
			return "", fmt.Errorf("is out of range; a size here is from %d to %d bytes", low, high)
		}
		return match[1] + unit, nil
	}
}

func checkBuffers(s string) (string, error) {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return "", errors.New("is not a number and a size; write how many buffers and how large, such as 4 8k")
	}
	count, err := strconv.Atoi(fields[0])
	if err != nil || count < 1 || count > 1024 {
		return "", errors.New("does not begin with a number of buffers from 1 to 1024; write it as 4 8k")
	}
	// nginx refuses buffers that are smaller than its connection pool.
	bytes, err := size("km", 512, 1<<30)(fields[1])
	if err != nil {
		return "", fmt.Errorf("has as its second part %s, which %w", quote(fields[1]), err)
	}
	return strconv.Itoa(count) + " " + bytes, nil
}

func checkTrusted(s string) (string, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.String(), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return "", errors.New("is not a network; write an address and a number of bits, such as 10.0.0.0/8")
	}
	if network.Masked() != network {
		return "", fmt.Errorf("has bits behind its prefix; write %s", network.Masked())
	}
	return network.String(), nil
}

func checkAuthorities(s string) (string, error) {
	list, err := render.ReadAuthorities([]byte(s))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be used: %w", err)
	case len(list) == 0:
		return "", errors.New("has no certificate in PEM; paste it between three quotes, from its BEGIN line to its END line")
	}
	return s, nil
}

func checkLogFormat(s string) (string, error) {
	if !strings.HasSuffix(strings.TrimSpace(s), ";") {
		return "", errors.New("does not end with ; as the body of a log_format must")
	}
	return s, nil
}

// protocolVersion is nginx's HTTP version towards the apps. An unusable value
// must not keep the file from working: the default takes its place.
var protocolVersion = kind[string]{name: "`\"1.0\"` or `\"1.1\"`; any other value gives a notice and the default", example: `"1.1"`, read: readProtocolVersion}

func readProtocolVersion(in *input, v *node) (string, bool) {
	if v.text == "1.0" || v.text == "1.1" {
		return v.text, true
	}
	in.notice(`is neither "1.0" nor "1.1", so the default 1.1 is used.`)
	return "", false
}
