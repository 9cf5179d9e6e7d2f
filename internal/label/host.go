package label

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxHostLength is the longest host name that DNS can hold (RFC 1035, 2.3.4).
const maxHostLength = 253

// lookupProfile maps a name as browsers do before they look it up (UTS 46,
// nontransitional) and checks what comes out.
var lookupProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
	// Names with two hyphens in the third and fourth place are in DNS and in use.
	// ValidateLabels refuses them; hyphens at the ends are looked for below.
	idna.CheckHyphens(false),
	idna.BidiRule(),
	idna.VerifyDNSLength(true),
)

func parseHosts(s *Set, value string) error {
	names := strings.Split(value, ",")
	if len(names) > maxHosts {
		return fmt.Errorf("%d host names; at most %d are allowed for one service", len(names), maxHosts)
	}
	for _, v := range names {
		// A comma too many, as a template leaves it, names no host.
		if v = strings.Trim(v, " \t"); v == "" {
			continue
		}
		h, err := host(v)
		if err != nil {
			return fmt.Errorf("%.80q is not a host name: %w", v, err)
		}
		s.Hosts = append(s.Hosts, h)
	}
	if len(s.Hosts) == 0 {
		return errors.New("no host name given")
	}
	slices.Sort(s.Hosts)
	s.Hosts = slices.Compact(s.Hosts)
	return nil
}

// host returns the name in the form in which requests are compared with it:
// lower case, A-labels, no dot at the end.
func host(value string) (string, error) {
	if !utf8.ValidString(value) {
		return "", errors.New("not valid UTF-8")
	}
	for _, r := range value {
		// Characters without a shape would make two names look alike.
		if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) {
			return "", fmt.Errorf("the invisible character %U is not allowed", r)
		}
	}
	bare, wildcard := strings.CutPrefix(value, "*.")
	ascii, err := lookupProfile.ToASCII(strings.TrimSuffix(bare, "."))
	if err != nil || hyphenAtAnEnd(ascii) {
		return "", errors.New("it breaks the rules for internet names (RFC 5891)")
	}
	if err := checkName(ascii, wildcard); err != nil {
		return "", err
	}
	if wildcard {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// hyphenAtAnEnd looks at each label as it is sent and as it is read.
func hyphenAtAnEnd(ascii string) bool {
	unicode, err := lookupProfile.ToUnicode(ascii)
	if err != nil {
		return true
	}
	for label := range strings.SplitSeq(ascii+"."+unicode, ".") {
		if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return true
		}
	}
	return false
}

func checkName(ascii string, wildcard bool) error {
	labels := strings.Split(ascii, ".")
	last := labels[len(labels)-1]
	switch {
	case len(ascii) > maxHostLength:
		return fmt.Errorf("longer than %d bytes", maxHostLength)
	case last == "localhost":
		return errors.New("localhost always means the client's own machine")
	case isNumeric(last):
		return errors.New("an address cannot be routed by name")
	case wildcard && len(labels) < 2:
		return errors.New("a wildcard needs a domain of at least two labels")
	}
	return nil
}

// isNumeric follows the URL standard (WHATWG, "ends in a number"): a host
// whose last label is a number is an IPv4 address, in whatever spelling.
func isNumeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isASCII(value string) bool {
	return strings.IndexFunc(value, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}
