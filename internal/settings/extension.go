package settings

import (
	"path"
	"slices"
	"strings"
)

// readSettings reads the top table. Unless it is complete, nothing is said to
// be missing: it may stand behind the syntax error.
func readSettings(r *reader, root *node, complete bool) *Settings {
	s := &Settings{ListenAddr: defaultListenAddr, DockerURL: defaultDockerURL, PollInterval: defaultPollInterval}
	given, rest := readKeys(r, "", r.members("", root), coreKeys, s)
	checkTLS(r, s, given)
	var extensions []*draft
	tables := 0
	for _, m := range rest {
		if !strings.EqualFold(m.name, extensionsKey) {
			r.unknown("", m, append(names(coreKeys), extensionsKey))
			continue
		}
		tables++
		extensions = readExtensions(r, m, complete)
	}
	if complete {
		if tables == 0 {
			r.fault(len(r.source.data), extensionsKey, "there is no extension; write a table [Extensions.default] with Image and ProxyImage")
		}
		checkConflicts(r, extensions)
	}
	for _, d := range extensions {
		d.dropUnused(r)
		noticePending(r, d.path, extensionKeys, d.given, d.proxy())
		noticePending(r, d.path+"."+configKey, optionKeys, d.options, d.proxy())
		s.Extensions = append(s.Extensions, d.Extension)
	}
	slices.SortFunc(s.Extensions, func(a, b Extension) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(r.notices)
	s.notices = r.notices
	return s
}

// checkTLS reports keys of TLS that do not fit one another or the Docker API.
func checkTLS(r *reader, s *Settings, given map[string]*node) {
	pairs := [][2]string{{"TLSCert", "TLSKey"}, {"TLSKey", "TLSCert"}}
	for _, p := range pairs {
		if given[p[0]] != nil && given[p[1]] == nil {
			r.fault(given[p[0]].offset, p[0], "this needs %s as well, which is missing", p[1])
		}
	}
	scheme, _, _ := strings.Cut(strings.ToLower(s.DockerURL), ":")
	if scheme != "unix" && scheme != "http" {
		return
	}
	for _, name := range []string{"AllowInsecure", "TLSCACert", "TLSCert", "TLSKey"} {
		switch v := given[name]; {
		case v == nil || v.text == "false":
		case scheme == "unix":
			r.notice(name, "has no effect: DockerURL is a unix socket, which is spoken with without TLS.")
		case name == "AllowInsecure":
			r.notice(name, "has no effect: DockerURL begins with http://, which is spoken without TLS.")
		default:
			r.fault(v.offset, name, "this needs TLS, but DockerURL begins with http://; write https:// there, or take this key out")
		}
	}
}

// draft is an extension with what its checks need to know of the file.
type draft struct {
	Extension
	path   string
	offset int
	// given holds the values of the extension's keys, options those of Config.
	given, options map[string]*node
}

func readExtensions(r *reader, m member, complete bool) []*draft {
	key := keyName(m.name)
	switch {
	case m.value.form == formList:
		r.fault(m.offset, key, "this is a list; write [Extensions.NAME] with one pair of brackets for each extension")
		return nil
	case m.value.form != formTable:
		r.fault(m.offset, key, "%s is %s, but Extensions is a table of tables; write [Extensions.NAME]", literal(m.value), formNames[m.value.form])
		return nil
	}
	list := r.members(key, m.value)
	if len(list) == 0 && complete {
		r.fault(m.offset, key, "there is no extension in it; write a table [Extensions.default] with Image and ProxyImage")
	}
	var drafts []*draft
	for _, m := range list {
		if d := readExtension(r, key, m, complete); d != nil {
			drafts = append(drafts, d)
		}
	}
	return drafts
}

func readExtension(r *reader, parent string, m member, complete bool) *draft {
	d := &draft{Extension: newExtension(m.name), path: pathOf(parent, m.name), offset: m.offset}
	if m.value.form != formTable {
		r.stray(parent, m)
		return nil
	}
	if !namePattern.MatchString(m.name) || len(m.name) > maxName {
		r.fault(m.offset, d.path, "this is no name for an extension; write letters, digits, -, _ and ., at most %d, a letter or digit first", maxName)
	}
	for _, other := range m.mentions {
		if other.name != m.name {
			r.fault(other.offset, pathOf(parent, other.name), "line %d spells this extension's name %s; spell it alike everywhere", r.source.line(m.offset), keyName(m.name))
		}
	}
	var rest []member
	d.given, rest = readKeys(r, d.path, r.members(d.path, m.value), extensionKeys, &d.Extension)
	for _, m := range rest {
		if !strings.EqualFold(m.name, configKey) {
			r.unknown(d.path, m, append(names(extensionKeys), configKey))
			continue
		}
		d.readOptions(r, m)
	}
	if complete {
		missing(r, d.path, d.offset, extensionKeys, d.given)
	}
	d.setConfigPath()
	return d
}

// maxName is the greatest length of an extension's name.
const maxName = 63

func newExtension(name string) Extension {
	return Extension{
		Name: name, ProxyReplicas: defaultReplicas, PublishMode: defaultPublishMode,
		TargetPort: defaultTargetPort, TargetSSLPort: defaultTargetSSLPort,
	}
}

// stray reports a plain value where [Extensions] wants a table: most likely an
// extension's key without the extension.
func (r *reader) stray(parent string, m member) {
	if home := homeOf(m.name); home != "" {
		r.unknown(parent, m, nil)
		return
	}
	r.fault(m.offset, pathOf(parent, m.name), "this is %s, but each extension is a table; write [Extensions.NAME]", formNames[m.value.form])
}

func (d *draft) readOptions(r *reader, m member) {
	key := pathOf(d.path, m.name)
	if m.value.form != formTable {
		r.fault(m.value.offset, key, "this is %s, but Config is a table; write [Extensions.%s.Config]", formNames[m.value.form], keyName(d.Name))
		return
	}
	values := options{}
	given, rest := readKeys(r, key, r.members(key, m.value), optionKeys, &values)
	for _, m := range rest {
		r.unknown(key, m, names(optionKeys))
	}
	d.Config, d.options = values, given
}

// proxy tells what the extension renders for by its arguments and its image.
func (e *Extension) proxy() proxies {
	named := func(s string) bool { return strings.Contains(strings.ToLower(s), "haproxy") }
	if slices.ContainsFunc(e.Args, named) || named(path.Base(e.Image)) {
		return haproxy
	}
	if e.Native() {
		return native
	}
	return nginx
}

// Nginx reports whether the extension renders for nginx.
func (e *Extension) Nginx() bool { return e.proxy() == nginx }

// Native reports whether the extension renders for the native proxy.
func (e *Extension) Native() bool { return slices.Contains(e.Args, kindNative) }

// kindNative is the argument of the command extension that says so.
const kindNative = "native"

func (d *draft) setConfigPath() {
	switch {
	case d.ProxyConfigPath != "":
	case d.proxy() == haproxy:
		d.ProxyConfigPath = defaultHAProxyPath
	default:
		d.ProxyConfigPath = defaultNginxPath
	}
}

// noticePending tells of keys whose effect comes with a later version.
func noticePending[T any](r *reader, path string, keys []key[T], given map[string]*node, used proxies) {
	for _, k := range keys {
		if given[k.name] != nil && k.pending&used != 0 {
			r.notice(pathOf(path, k.name), "is accepted, but without effect in this version.")
		}
	}
}

// dropUnused tells of what is given and has no effect on this kind of proxy,
// and keeps it from the extension.
func (d *draft) dropUnused(r *reader) {
	used := d.proxy()
	for _, k := range optionKeys {
		if d.options[k.name] != nil && k.proxies&used == 0 {
			delete(d.Config, k.name)
			r.notice(d.path+".Config."+k.name, "has no effect: it is for %s, and this extension's Image and Args make it one for %s.", strings.Join(k.proxies.names(), " and "), used)
		}
	}
	if d.HitlessServiceUpdate == nil && !d.Hitless() {
		r.notice(d.path+".ProxyImage", "does not say interlock, so it is taken for a stock image: new configuration reaches it as a Docker config, with a rolling update of the proxy service; if it holds Interlock's agent, set HitlessServiceUpdate = true.")
	}
	if d.PublishedPort == 0 && d.PublishedSSLPort == 0 {
		r.notice(d.path, "publishes no port: without PublishedPort and PublishedSSLPort its proxies are reached over Docker networks only.")
	}
}
