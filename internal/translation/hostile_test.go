package translation

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/label"
)

//go:embed testdata/hostile-labels.json
var hostileLabels []byte

// hostile is one value that somebody may try, and what must happen.
type hostile struct {
	ID, Label, Value, Why, Expect string
}

// verdict is what happens to the service with a hostile value.
type verdict int

const (
	refused verdict = iota // it is left out, and told so with the label's name
	ignored                // the label has no effect and is told; the service is routed
	routed                 // the service is routed, and nothing is wrong with the value
	shared                 // it shares the victim's host, as a canary does
	silent                 // the label is not one of ours
	starved                // as it asks for, the service gets no request
)

// decided has the verdicts that do not follow from the words of an entry, with
// the reason. The policies are those of docs/adr/0006-label-policies.md.
var decided = map[string]struct {
	verdict verdict
	reason  string
}{
	"HL-051": {refused, "policy: underscores are not in host names"},
	"HL-058": {routed, "policy: two names under IDNA 2008, both served"},
	"HL-061": {refused, "policy: addresses are not names"},
	"HL-062": {refused, "policy: addresses are not names"},
	"HL-105": {refused, "policy: only networks that the service is attached to"},
	"HL-145": {refused, "policy: the paths of ACME challenges are reserved"},
	"HL-154": {refused, "policy: true and false are the only truth values"},
	"HL-071": {shared, "two services on one host share it; that is how a canary is made"},
	"HL-076": {silent, "ownership follows from age; the stack's label names networks only"},
	"HL-078": {ignored, "a key with a blank is an unknown key"},
	"HL-129": {refused, "normalising it would make two spellings of one root"},
	"HL-130": {refused, "normalising it would make two spellings of one root"},
	"HL-139": {refused, "paths are ASCII"},
	"HL-193": {refused, "no TLS yet, and a proxy cannot keep the prefix's promise"},
	"HL-218": {refused, "the older service decides that its host's TLS ends at the proxy"},
	"HL-239": {starved, "0 keeps the service from all requests: it never reaches nginx as a weight"},
	"HL-240": {routed, "no proxy of ours has that bound: weights are brought to what each takes"},
	"HL-244": {ignored, "there is no such label"},
	"HL-245": {ignored, "there is no such label"},
	"HL-247": {ignored, "there is no such label"},
	"HL-198": {routed, "policy: whoever may create a service may mount any secret anyway"},
	"HL-199": {ignored, "Interlock's own; the service is served without TLS"},
	"HL-211": {ignored, "a key without a certificate"},
	"HL-215": {routed, "the extension looks into it, and leaves it out with a finding"},
	"HL-258": {routed, "the size of a secret is not to be had from Swarm; it never reaches a proxy's node but in bundles"},
}

func (h hostile) verdict(t *testing.T) verdict {
	t.Helper()
	if d, found := decided[h.ID]; found {
		return d.verdict
	}
	for prefix, v := range map[string]verdict{"reject": refused, "ignore": ignored, "accept": routed} {
		if strings.HasPrefix(h.Expect, prefix) {
			return v
		}
	}
	t.Fatalf("%s: what does %q demand?", h.ID, h.Expect)
	return refused
}

func readHostile(t testing.TB) []hostile {
	t.Helper()
	var list []hostile
	if err := json.Unmarshal(hostileLabels, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// attack adds a service with one hostile label to the victim's Swarm.
func attack(name, value string) *fixture.Swarm {
	labels := map[string]string{}
	if name == label.Prefix+"ssl_passthrough" {
		labels[label.Prefix+"hosts"] = "a.example.test"
	}
	labels[name] = value
	return attackWith(labels)
}

// attackWith adds a service with these labels, and what it needs besides.
func attackWith(labels map[string]string) *fixture.Swarm {
	all := map[string]string{label.Prefix + "hosts": "evil.example.test", label.Prefix + "port": "8080"}
	maps.Copy(all, labels)
	return victim().Service("evil", all, fixture.Joins("front")).Task("evil", 2, 2, fixture.HostPort(8080, 30001), fixture.HostPort(80, 30002))
}

func TestNoHostileLabelReachesAFileOrHurtsAnybodyElse(t *testing.T) {
	alone := translate(t, victim(), nil, nil)
	for _, h := range readHostile(t) {
		t.Run(h.ID, func(t *testing.T) {
			got := translate(t, attack(h.Label, h.Value), nil, nil)
			want := h.verdict(t)
			toldOf := bytes.Contains(got.problemLines(), fmt.Appendf(nil, "service evil: label %s=", h.Label))
			if wantTold := want == refused || want == ignored; toldOf != wantTold {
				t.Errorf("problems, of which one is about the label: %v, want %v\n%s", toldOf, wantTold, got.problemLines())
			}
			if want == refused {
				if !bytes.Equal(got.conf, alone.conf) {
					t.Errorf("%s: the service is not left out:\n%s", h.Why, got.variable(t))
				}
				return
			}
			if victims := serverOf(t, alone.conf, "a.example.test"); want != shared && victims != serverOf(t, got.conf, "a.example.test") {
				t.Errorf("%s: what the victim is served by has changed:\n%s", h.Why, got.variable(t))
			}
			if fed := bytes.Contains(got.conf, []byte("server 10.0.0.2:3000")); fed != (want != starved) {
				t.Errorf("the service is routed: %v\n%s\n%s", fed, got.problemLines(), got.variable(t))
			}
		})
	}
}

func TestEveryDecisionIsAboutAnEntry(t *testing.T) {
	entries := map[string]bool{}
	for _, h := range readHostile(t) {
		entries[h.ID] = true
	}
	for id := range decided {
		if !entries[id] {
			t.Errorf("%s is decided but not there", id)
		}
	}
}

// What an accepted value becomes, where an entry says so.
func TestAcceptedValuesBecomeWhatTheyMean(t *testing.T) {
	want := map[string]struct {
		hosts     string
		locations string
	}{
		"HL-040": {"a.test", "/"},
		"HL-043": {"a2.test", "/"},
		"HL-044": {"a2.test", "/"},
		"HL-056": {"xn--80ak6aa92e.test", "/"},
		"HL-058": {"strasse.test xn--strae-oqa.test", "/"},
		"HL-059": {"a.test", "/"},
		"HL-091": {"evil.example.test", "/"},
		"HL-135": {"evil.example.test", "/"},
		"HL-149": {"evil.example.test", "= /var/run/secrets, /var/run/secrets/, /"},
		"HL-198": {"evil.example.test", "/"},
		"HL-215": {"evil.example.test", "/"},
		"HL-258": {"evil.example.test", "/"},
		"HL-153": {"evil.example.test", "/"},
		"HL-219": {"evil.example.test", "/"},
		"HL-225": {"evil.example.test", "/, = /ws, /ws/"},
		"HL-240": {"evil.example.test", "/"},
		"HL-261": {"evil.example.test", fmt.Sprintf("= %[1]s, %[1]s/, /", "/"+strings.Repeat("-", 253))},
		"HL-264": {"evil.example.test", "/"},
		"HL-265": {"r3---sn-abc.test", "/"},
	}
	for _, h := range readHostile(t) {
		if h.verdict(t) != routed {
			continue
		}
		w, said := want[h.ID]
		if !said {
			t.Errorf("%s (%s) is accepted, but nobody says as what", h.ID, h.Expect)
		}
		for _, s := range servers(t, translate(t, attack(h.Label, h.Value), nil, nil).conf) {
			if s.name == "_" || s.name == "a.example.test" {
				continue
			}
			if !strings.Contains(" "+w.hosts+" ", " "+s.name+" ") || strings.Join(s.locations, ", ") != w.locations {
				t.Errorf("%s: server %q has the locations %q; want hosts %q with %q", h.ID, s.name, s.locations, w.hosts, w.locations)
			}
		}
	}
}

func TestATLSBackendThatCannotBeVerifiedHurtsNobodyElse(t *testing.T) {
	got := translate(t, attack(label.Prefix+"ssl_backend", "true"), nil, nil)
	acceptedByNginx(t, got)
}
