package template

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// SSLBackend is a host that takes TLS. Its ports are of the loopback interface,
// free for the template to listen on, of this host alone, and as good as never
// others while the host is there.
type SSLBackend struct {
	Host string
	// Port is where TLS for the host may be ended.
	Port int
	// ProxyProtocolPort is where TLS that goes through to the tasks may lose the
	// proxy protocol's header.
	ProxyProtocolPort int
	Passthrough       bool // TLS goes to the host's Targets as it comes
	// DefaultBackend is always false: there is no certificate for names that no
	// service claims.
	DefaultBackend bool
}

// certificate says where a host's certificate is: an otherwise empty backend.
func (c *collector) certificate(v *route.VirtualHost) (own Backend, secure bool, err error) {
	chain, key, secure := c.keys.Paths(v)
	if !secure {
		return Backend{}, false, nil
	}
	own = Backend{SSLCert: v.Credential.Chain.Name, SSLKey: v.Credential.Key.Name}
	if own.SSLCertTarget, err = belowSecrets(chain); err != nil {
		return Backend{}, false, err
	}
	if own.SSLKeyTarget, err = belowSecrets(key); err != nil {
		return Backend{}, false, err
	}
	return own, true, bare("/"+own.SSLCert, "/"+own.SSLKey, "/"+own.SSLCertTarget, "/"+own.SSLKeyTarget)
}

// belowSecrets is a path as templates complete it: they write /run/secrets/ before
// it, and the files of a bundle are elsewhere.
func belowSecrets(path string) (string, error) {
	target, err := filepath.Rel(render.MountedDir, path)
	if err != nil {
		return "", fmt.Errorf("no way from %s to %s: %w", render.MountedDir, path, err)
	}
	return filepath.ToSlash(target), nil
}

// toTLS redirects plain requests. The names that a wildcard stands for are each
// redirected to itself.
func (c *collector) toTLS(host string) Redirect {
	target := "https://" + host
	if strings.HasPrefix(host, "*") {
		target = "https://$host"
	}
	if c.published != 0 && c.published != 443 {
		target = fmt.Sprintf("%s:%d", target, c.published)
	}
	return Redirect{Source: "http://" + host, Target: target}
}

func (c *collector) passthrough(v *route.Passthrough) error {
	if err := bare(v.Name); err != nil {
		return err
	}
	b := Backend{IPHash: v.Forward.Affinity.ClientAddress}
	if err := c.targets(&b, v.Forward.Upstreams); err != nil {
		return err
	}
	switch known := c.data.Hosts[v.Name]; {
	case c.data.SSLBackends[v.Name].Host != "" || v.Name == anyHost:
		return fmt.Errorf("TLS for the host ends here as well, or it is none")
	case len(known) > 0:
		b.Redirects = known[0].Redirects
	case v.RedirectPlain:
		b.Redirects = []Redirect{c.toTLS(v.Name)}
	}
	c.data.Hosts[v.Name] = []Backend{b}
	c.data.SSLBackends[v.Name] = SSLBackend{Host: v.Name, Passthrough: true}
	return nil
}

// firstPort is where the pairs of ports begin, above those that programs usually
// have and below those that Linux gives to outgoing connections (from 32768).
const firstPort, pairs = 10240, (32768 - 10240) / 2

// giveOutPorts gives every host a pair of ports that follows from its name, as a
// worker that ends still uses those of the configuration before. Where names
// collide, the one with the lesser hash keeps its place; each of the others takes
// the next free one: only they may get other ports when a host is added.
func giveOutPorts(hosts map[string]SSLBackend, taken ...uint16) error {
	type claim struct {
		host string
		sum  [sha256.Size]byte
		pair uint32
	}
	used := make(map[uint32]bool, len(hosts)+len(taken))
	for _, port := range taken {
		if port >= firstPort {
			used[uint32(port-firstPort)/2] = true
		}
	}
	if len(hosts) > pairs-len(taken) {
		return fmt.Errorf("%d hosts take TLS, and there are ports for %d", len(hosts), pairs-len(taken))
	}
	var claims []claim
	for host := range maps.Keys(hosts) {
		sum := sha256.Sum256([]byte(host))
		claims = append(claims, claim{host, sum, binary.BigEndian.Uint32(sum[:]) % pairs})
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(bytes.Compare(a.sum[:], b.sum[:]), strings.Compare(a.host, b.host))
	})
	take := func(c claim) {
		used[c.pair] = true
		h := hosts[c.host]
		h.Port, h.ProxyProtocolPort = int(firstPort+2*c.pair), int(firstPort+2*c.pair+1)
		hosts[c.host] = h
	}
	var late []claim
	for _, c := range claims {
		if used[c.pair] {
			late = append(late, c)
			continue
		}
		take(c)
	}
	for _, c := range late {
		for used[c.pair] {
			c.pair = (c.pair + 1) % pairs
		}
		take(c)
	}
	return nil
}
