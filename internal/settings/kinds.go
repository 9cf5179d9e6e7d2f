package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// The kinds of values that several keys share.
var (
	boolean       = flag()
	anyText       = text("a string", `"text"`, accept)
	texts         = list("a list of strings", anyText)
	image         = text("an image reference", `"interlock-extension:1.0"`, checkImage)
	proxyImage    = text("an image reference", `"interlock-proxy:1.0"`, checkImage)
	address       = text("an address `host:port`; the host may be empty", `":8080"`, checkListenAddress)
	endpoint      = text("an address `host:port`", `"10.0.0.5:8080"`, checkEndpoint)
	dockerURL     = text("a `unix://`, `tcp://`, `http://` or `https://` URL", `"unix:///var/run/docker.sock"`, checkDockerURL)
	filePath      = text("an absolute path", `"/etc/interlock/file"`, checkPath)
	configPath    = text("an absolute path, in a folder", `"/etc/nginx/nginx.conf"`, checkConfigPath)
	logPath       = text("an absolute path, or `syslog:server=…`", `"/dev/stdout"`, checkLogPath)
	serviceName   = text("the name of a service", `"interlock-proxy"`, checkServiceName)
	cluster       = text("a name: letters, digits, `.`, `_`, `-`; empty is the default cluster", `"us-east"`, checkCluster)
	configName    = text("the name of a Docker config", `"nginx.template"`, checkConfigName)
	constraints   = list("a list of placement constraints", text("a constraint", `"node.labels.nodetype==loadbalancer"`, checkConstraint))
	preferences   = list("a list of placement preferences", text("a preference", `"spread=node.labels.zone"`, checkPreference))
	networks      = list("a list of network names", text("a network's name", `"interlock"`, checkNetwork))
	stopSignal    = orInteger(text("the name of a signal", `"SIGQUIT"`, checkSignal))
	publishMode   = as(words("host", string(snapshot.PublishIngress), string(snapshot.PublishHost)), toPublishMode)
	targetPort    = as(number("a port from 1 to 65535", "80", 1, 65535), toPort)
	labels        = labelTable()
	lines         = rawLines()
	password      = secretText()
	publishedPort = as(number("a port from 1 to 65535, or 0 for none", "80", 0, 65535), toPort)
)

func toPublishMode(s string) snapshot.PublishMode { return snapshot.PublishMode(s) }
func toPort(n int64) uint16                       { return uint16(n) }
func toCount(n int64) uint64                      { return uint64(n) }
func pointer[V any](v V) *V                       { return &v }
func accept(s string) (string, error)             { return s, nil }

// duration is a string such as "3s", from low to high.
func duration(example string, low, high time.Duration) kind[time.Duration] {
	k := kind[time.Duration]{
		name:    fmt.Sprintf("a duration from `%s` to `%s`", brief(low), brief(high)),
		example: strconv.Quote(example),
	}
	k.read = func(in *input, v *node) (time.Duration, bool) {
		if !k.is(formString, in, v) {
			return 0, false
		}
		d, err := time.ParseDuration(v.text)
		if err != nil {
			in.fault(v, "%s is not a duration; write a number and ms, s, m or h, such as %s", quote(v.text), k.example)
			return 0, false
		}
		if d < low || d > high {
			in.fault(v, "%s is out of range; %s takes %s", quote(v.text), in.key, k.name)
			return 0, false
		}
		return d, true
	}
	return k
}

// brief writes a duration without units that are zero, as "1h" for 1h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// seconds is a whole number of seconds, written as a number as old files have
// it or as a duration such as "1m30s".
func seconds(example string) kind[int64] {
	k := kind[int64]{name: fmt.Sprintf("whole seconds from 1 to %d, or a duration such as `\"90s\"`", maxTime/time.Second), example: example}
	k.read = func(in *input, v *node) (int64, bool) {
		if v.form != formString && !k.is(formInteger, in, v) {
			return 0, false
		}
		d, err := time.ParseDuration(v.text)
		if v.form == formInteger {
			var n int64
			n, err = integer(v.text)
			d = time.Duration(min(max(n, 0), int64(maxTime/time.Second)+1)) * time.Second
		}
		if err != nil || d < time.Second || d > maxTime || d%time.Second != 0 {
			in.fault(v, "%s is not a time that can be used here; %s takes %s", literal(v), in.key, k.name)
			return 0, false
		}
		return int64(d / time.Second), true
	}
	return k
}

// labelTable is a table of strings. A label's name may be written with its
// dots bare: TOML makes tables of them, which are joined again.
func labelTable() kind[map[string]string] {
	k := kind[map[string]string]{name: "a table of strings", example: `{ "com.example.role" = "lb" }`}
	k.read = func(in *input, v *node) (map[string]string, bool) {
		if !k.is(formTable, in, v) {
			return nil, false
		}
		values := map[string]string{}
		return values, addLabels(in, v, "", values)
	}
	return k
}

func addLabels(in *input, t *node, prefix string, values map[string]string) bool {
	all := true
	for _, e := range t.entries {
		name := prefix + e.name
		if e.value.form == formTable {
			all = addLabels(in, e.value, name+".", values) && all
			continue
		}
		one := &input{r: in.r, path: in.path + "." + keyName(name), key: keyName(name), trial: in.trial}
		value, ok := anyText.read(one, e.value)
		if _, given := values[name]; given {
			one.fault(&node{offset: e.offset}, "this label is given twice; take one of the two out")
			ok = false
		}
		if name == "" {
			one.fault(&node{offset: e.offset}, "a label needs a name")
			ok = false
		}
		values[name] = value
		all = all && ok
	}
	return all
}

// toTexts is in what form lists go into the options.
func toTexts(values []string) []any {
	texts := make([]any, len(values))
	for i, value := range values {
		texts[i] = value
	}
	return texts
}

// rawLines are raw lines of the operator's own: a list of strings, or one string.
func rawLines() kind[[]any] {
	written := list("a list of strings, passed on as they are", anyText)
	written.example = `["worker_priority -5;"]`
	k := as(written, toTexts)
	several := k.read
	k.read = func(in *input, v *node) ([]any, bool) {
		if v.form == formString {
			v = &node{offset: v.offset, form: formList, items: []*node{v}}
		}
		return several(in, v)
	}
	return k
}

// secretText is a string that no message repeats.
func secretText() kind[string] {
	k := kind[string]{name: "a string", example: `"…"`, secret: true}
	k.read = func(in *input, v *node) (string, bool) {
		if !k.is(formString, in, v) {
			return "", false
		}
		if strings.ContainsFunc(v.text, unicode.IsControl) {
			in.fault(v, "this holds a control character; take it out")
			return "", false
		}
		return v.text, true
	}
	return k
}
