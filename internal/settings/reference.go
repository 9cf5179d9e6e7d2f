package settings

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

const referenceHead = `# config.toml

<!-- Generated from the key tables in internal/settings by: go test ./internal/settings -update -->

The core reads this file once, at its start: ` + "`interlock run -c /config.toml`" + `. It is written in [TOML](https://toml.io/en/v1.0.0).
` + "`interlock config check FILE`" + ` tells of everything that is wrong with a file, with line and column, and changes nothing. A core that is
given a file with a fault ends with exit code 2, so that Swarm rolls the update back while traffic goes on.

` + "```toml" + `
ListenAddr = ":8080"
DockerURL = "unix:///var/run/docker.sock"
PollInterval = "3s"

[Extensions]
  [Extensions.default]
    Image = "interlock-extension:1.0"
    ServiceName = "interlock-ext"
    ProxyImage = "interlock-proxy:1.0"
    ProxyServiceName = "interlock-proxy"
    ProxyReplicas = 2
    ProxyConstraints = ["node.labels.nodetype==loadbalancer"]
    PublishMode = "host"
    PublishedPort = 80
    PublishedSSLPort = 443
    [Extensions.default.Config]
      MaxConnections = 2048
` + "```" + `

- Names of keys match without regard to case: ` + "`RlimitNoFile` is `RLimitNoFile`" + `. A key may be given once, in one spelling. A key that is not known is a fault.
- An optional key with an empty string is the same as one that is left out.
- Durations are a number and a unit: ` + "`500ms`, `3s`, `1m30s`, `1h`" + `.
- A label's name may be written with or without quotes: ` + "`com.example.role = \"lb\"` and `\"com.example.role\" = \"lb\"`" + ` are the same label.
- Keys that have no effect, or none in this version yet, are accepted and marked below; the core and ` + "`interlock config check`" + ` say so.
- The file is at most 1 MiB; Swarm's own limit for a config lies just below.
`

const referenceExtensions = `
## ` + "`[Extensions.NAME]`" + `

One table for each extension service and the proxy service that it renders for; at least one. NAME is letters, digits, ` + "`-`, `_` and `.`" + `, at
most 63. No two extensions serve the same service cluster, have a service's name in common, or publish the same port unless
both do so in mode ` + "`host`" + `. Without ` + "`PublishedPort` and `PublishedSSLPort`" + ` the proxies are reached over Docker networks only.

`

const referenceOptions = `
## ` + "`[Extensions.NAME.Config]`" + `

What the extension renders with. The third column says which proxies use a key; given to another it is left out, with a notice. What stands in
raw lines is the operator's own: it goes into the configuration as it is, unchecked. This version brings extensions for nginx and the native proxy: the
keys for HAProxy reach an ` + "`Image`" + ` of your own, which gives them their meaning.

`

// WriteReference writes docs/configuration.md: all keys, their values,
// defaults and meanings.
func WriteReference(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, referenceHead, "\n## Core\n\n| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range coreKeys {
		writeRow(out, k.name, k.takes, k.standard, k.sense())
	}
	writeRow(out, extensionsKey, "a table of tables", "**required**", "`[Extensions.NAME]`, below.")
	fmt.Fprint(out, referenceExtensions, "| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range extensionKeys {
		writeRow(out, k.name, k.takes, k.standard, k.sense())
	}
	writeRow(out, configKey, "a table", "", "`[Extensions.NAME.Config]`, below.")
	fmt.Fprint(out, referenceOptions, "| key | value | for | default | meaning |\n|---|---|---|---|---|\n")
	for _, k := range optionKeys {
		writeRow(out, k.name, k.takes, k.proxies.String(), k.standard, k.sense())
	}
	return out.Flush()
}

// sense is what the key means, and that it has no effect if so.
func (k key[T]) sense() string {
	switch {
	case k.void != "":
		return k.meaning + " *Accepted without effect: " + k.void + ".*"
	case k.pending == 0:
		return k.meaning
	case k.pending == both || k.pending == k.proxies:
		return k.meaning + " *Accepted, but without effect in this version.*"
	default:
		return k.meaning + " *Accepted, but without effect in this version for " + k.pending.String() + ".*"
	}
}

func writeRow(w io.Writer, name string, cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(cell, "|", `\|`)
	}
	fmt.Fprintf(w, "| `%s` | %s |\n", name, strings.Join(cells, " | "))
}
