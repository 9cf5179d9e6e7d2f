package template

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
)

// Data is what a template gets. Fields may be added, but neither renamed nor
// given another kind of value: templates in use name them.
type Data struct {
	ExtensionConfig nginx.ExtensionConfig
	// Hosts has at least one backend for every host name. The backend for the
	// hosts that no service claims stands under "_".
	Hosts map[string][]Backend
	// SSLBackends are those hosts that take TLS; others have a zero value.
	SSLBackends       map[string]SSLBackend
	Port, SSLPort     int
	Version           string // "interlock/VERSION (COMMIT) OS/ARCH"
	HasDefaultBackend bool

	items int // hosts, backends and targets
}

// Backend is one path of a host and who answers there. A host's backends are in
// the order in which their paths are to be tried.
type Backend struct {
	// Targets are ADDRESS:PORT, sorted, and never empty: nginx refuses an
	// upstream without a server.
	Targets []string
	// Unavailable says that nobody answers at Targets, because no task runs or
	// the host is only redirected.
	Unavailable bool
	// ContextRoots is empty for all of a host, else it has one.
	ContextRoots        []ContextRoot
	WebsocketEndpoints  []string
	StickySessionCookie string // empty: none
	IPHash              bool
	Redirects           []Redirect // the same for all backends of a host
	DefaultBackend      bool       // answers for the hosts that no service claims
	SSLBackend          bool       // the tasks speak TLS

	// SSLCert and SSLKey are what the labels name, SSLCertTarget and
	// SSLKeyTarget the files, relative to /run/secrets.
	SSLCert, SSLKey, SSLCertTarget, SSLKeyTarget string
}

// ContextRoot is a path that a backend answers for, with all below it.
type ContextRoot struct {
	Path    string // without a slash at its end
	Rewrite bool   // the app sees "/" in place of it
}

// Redirect sends the requests for a host elsewhere, with 302.
type Redirect struct {
	Source, Target string // scheme://host
}

// SSLBackend is a host that takes TLS.
type SSLBackend struct {
	Host string
	// Port is where TLS for the host may be ended, on the loopback interface.
	Port int
	// ProxyProtocolPort is where TLS that goes through to the tasks may lose
	// the proxy protocol's header, on the loopback interface; 0: it need not.
	ProxyProtocolPort int
	Passthrough       bool
	DefaultBackend    bool
}

const (
	// anyHost stands for the hosts that no service claims; no host has this name.
	anyHost = "_"
	// nobody is where no one answers: a port below 1024 that nothing in a
	// proxy's container listens on.
	nobody = "127.0.0.1:1"
)

// collector turns a table into Data.
type collector struct {
	upstreams map[string]*route.Upstream
	data      *Data
}

func dataOf(t *route.Table, o *nginx.Options) (*Data, error) {
	c := collector{
		upstreams: make(map[string]*route.Upstream, len(t.Upstreams)),
		data: &Data{
			Hosts: make(map[string][]Backend, len(t.Hosts)), SSLBackends: make(map[string]SSLBackend),
		},
	}
	for i := range t.Upstreams {
		c.upstreams[t.Upstreams[i].Name] = &t.Upstreams[i]
	}
	longest := 0
	for i := range t.Hosts {
		if err := c.host(&t.Hosts[i]); err != nil {
			return nil, fmt.Errorf("host %.80q: %w", t.Hosts[i].Name, err)
		}
		longest = max(longest, len(t.Hosts[i].Name))
	}
	if len(t.Default) > 0 {
		backends, err := c.backends(t.Default)
		if err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
		for i := range backends {
			backends[i].DefaultBackend = true
		}
		if c.data.HasDefaultBackend = len(backends) > 0; c.data.HasDefaultBackend {
			c.data.Hosts[anyHost] = backends
		}
	}
	for _, backends := range c.data.Hosts {
		for i := range backends {
			c.data.items += 2 + len(backends[i].Targets)
		}
	}
	c.data.ExtensionConfig = o.Documented(longest)
	return c.data, nil
}

func (c *collector) host(v *route.VirtualHost) error {
	if err := bare(v.Name); err != nil {
		return err
	}
	if _, twice := c.data.Hosts[v.Name]; twice || v.Name == anyHost {
		return fmt.Errorf("the table has the name twice, or it is none")
	}
	redirects := make([]Redirect, len(v.Redirects))
	plainRequests := slices.ContainsFunc(v.Routes, func(r route.Route) bool { return !r.TLSOnly })
	for i, r := range v.Redirects {
		if err := bare(r.Scheme, r.Target); err != nil {
			return err
		}
		redirects[i] = Redirect{Source: r.Scheme + "://" + v.Name, Target: r.Target}
		plainRequests = plainRequests || r.Scheme == "http"
	}
	if !plainRequests {
		// Only TLS requests are redirected: the host is not there for others.
		return nil
	}
	backends, err := c.backends(v.Routes)
	if err != nil {
		return err
	}
	if len(backends) == 0 {
		backends = []Backend{{Targets: []string{nobody}, Unavailable: true}}
	}
	for i := range backends {
		backends[i].Redirects = redirects
	}
	c.data.Hosts[v.Name] = backends
	return nil
}

func (c *collector) backends(routes []route.Route) ([]Backend, error) {
	var list []Backend
	for i := range routes {
		r := &routes[i]
		if r.TLSOnly {
			continue // never over plain HTTP
		}
		if err := bare(append([]string{r.PathPrefix, "c" + r.Forward.Affinity.Cookie}, r.Websockets...)...); err != nil {
			return nil, err
		}
		b := Backend{
			WebsocketEndpoints: r.Websockets, StickySessionCookie: r.Forward.Affinity.Cookie, IPHash: r.Forward.Affinity.ClientAddress,
		}
		if r.PathPrefix != "/" {
			b.ContextRoots = []ContextRoot{{Path: r.PathPrefix, Rewrite: r.Rewrite}}
		}
		if err := c.targets(&b, r.Forward.Upstreams); err != nil {
			return nil, fmt.Errorf("path %.80q: %w", r.PathPrefix, err)
		}
		list = append(list, b)
	}
	return list, nil
}

// targets fills in the endpoints of all upstreams.
func (c *collector) targets(b *Backend, upstreams []string) error {
	var addrs []netip.AddrPort
	for _, name := range upstreams {
		u, known := c.upstreams[name]
		if !known {
			return fmt.Errorf("the table has no upstream %.80q", name)
		}
		b.SSLBackend = u.TLS != nil
		for _, e := range u.Endpoints {
			addrs = append(addrs, netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port()))
		}
	}
	slices.SortFunc(addrs, func(a, b netip.AddrPort) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
	})
	for _, addr := range slices.Compact(addrs) {
		b.Targets = append(b.Targets, addr.String())
	}
	if len(b.Targets) == 0 {
		b.Targets, b.Unavailable = []string{nobody}, true
	}
	return nil
}

// barePattern is what reads the same in a configuration file without quotes.
var barePattern = regexp.MustCompile(`^[A-Za-z0-9*/][A-Za-z0-9/._~!+=:@,-]*$`)

// bare makes sure of texts that tenants have a say in: templates write them
// without quotes. The grammars of labels let nothing else through.
func bare(texts ...string) error {
	for _, text := range texts {
		if !barePattern.MatchString(text) {
			return fmt.Errorf("%.80q cannot be given to a template, which would write it without quotes", text)
		}
	}
	return nil
}
