package template

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
)

// Data is what a template gets. Fields may be added, but neither renamed nor
// given another kind of value: templates in use name them.
type Data struct {
	ExtensionConfig nginx.ExtensionConfig
	// Hosts has at least one backend for every host name, those of SSLBackends
	// too. The backend for the hosts that no service claims stands under "_".
	Hosts map[string][]Backend
	// SSLBackends are the hosts that take TLS; others have a zero value.
	SSLBackends       map[string]SSLBackend
	Port, SSLPort     int
	Version           string // "interlock/VERSION (COMMIT) OS/ARCH"
	HasDefaultBackend bool

	items int // hosts, those that take TLS once more, backends and targets
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
	HTTP2Backend        bool       // the tasks speak HTTP/2: grpc_pass reaches them, proxy_pass does not

	// SSLCert and SSLKey are the names of the secrets, the same where one holds
	// both; SSLCertTarget and SSLKeyTarget the files, relative to /run/secrets.
	// Empty: TLS for the host does not end here. The same for all backends of a
	// host.
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
	keys      *nginx.Keyring
	published uint16 // where plain requests are sent to for TLS; 0: not known
	data      *Data
}

func dataOf(t *route.Table, o *nginx.Options, p render.Parameters, keys *nginx.Keyring) (*Data, error) {
	c := collector{
		upstreams: make(map[string]*route.Upstream, len(t.Upstreams)), keys: keys, published: p.PublishedSSLPort,
		data: &Data{
			Hosts: make(map[string][]Backend, len(t.Hosts)), SSLBackends: make(map[string]SSLBackend),
			Port: int(p.Port), SSLPort: int(p.SSLPort),
		},
	}
	for i := range t.Upstreams {
		c.upstreams[t.Upstreams[i].Name] = &t.Upstreams[i]
	}
	for i := range t.Hosts {
		if err := c.host(&t.Hosts[i]); err != nil {
			return nil, fmt.Errorf("host %.80q: %w", t.Hosts[i].Name, err)
		}
	}
	for i := range t.Passthrough {
		if err := c.passthrough(&t.Passthrough[i]); err != nil {
			return nil, fmt.Errorf("passthrough of %.80q: %w", t.Passthrough[i].Name, err)
		}
	}
	if err := c.fallback(t.Default); err != nil {
		return nil, fmt.Errorf("default: %w", err)
	}
	if err := giveOutPorts(c.data.SSLBackends, p.Port, p.SSLPort); err != nil {
		return nil, err
	}
	c.data.ExtensionConfig = o.Documented(c.count())
	return c.data, nil
}

// count counts the items, and returns the length of the longest host name.
func (c *collector) count() (longest int) {
	for host, backends := range c.data.Hosts {
		longest = max(longest, len(host))
		for i := range backends {
			c.data.items += 2 + len(backends[i].Targets)
		}
	}
	c.data.items += len(c.data.SSLBackends)
	return longest
}

func (c *collector) fallback(routes []route.Route) error {
	backends, err := c.backends(routes, false)
	if err != nil || len(backends) == 0 {
		return err
	}
	for i := range backends {
		backends[i].DefaultBackend = true
	}
	c.data.HasDefaultBackend, c.data.Hosts[anyHost] = true, backends
	return nil
}

func (c *collector) host(v *route.VirtualHost) error {
	if err := bare(v.Name); err != nil {
		return err
	}
	if _, twice := c.data.Hosts[v.Name]; twice || v.Name == anyHost {
		return fmt.Errorf("the table has the name twice, or it is none")
	}
	own, secure, err := c.certificate(v)
	if err != nil {
		return err
	}
	redirects, err := c.redirects(v, secure)
	if err != nil {
		return err
	}
	plainRequests := slices.ContainsFunc(redirects, func(r Redirect) bool { return isRedirectMatch(r.Source, v.Name) }) ||
		slices.ContainsFunc(v.Routes, func(r route.Route) bool { return !r.TLSOnly })
	if !plainRequests && !secure {
		// The host is there for TLS requests only, and they cannot be served.
		return nil
	}
	backends, err := c.backends(v.Routes, secure)
	if err != nil {
		return err
	}
	if len(backends) == 0 {
		backends = []Backend{{Targets: []string{nobody}, Unavailable: true}}
	}
	for i := range backends {
		b := &backends[i]
		b.Redirects = redirects
		b.SSLCert, b.SSLKey, b.SSLCertTarget, b.SSLKeyTarget = own.SSLCert, own.SSLKey, own.SSLCertTarget, own.SSLKeyTarget
	}
	c.data.Hosts[v.Name] = backends
	if secure {
		c.data.SSLBackends[v.Name] = SSLBackend{Host: v.Name}
	}
	return nil
}

// redirects are the table's, and where the host takes TLS one for those who want
// nothing else: redirects hold for a whole host, so all of its plain requests go
// to TLS, rather than some that must not be served.
func (c *collector) redirects(v *route.VirtualHost, secure bool) ([]Redirect, error) {
	list := make([]Redirect, 0, len(v.Redirects)+1)
	for _, r := range v.Redirects {
		if err := bare(r.Scheme, r.Target); err != nil {
			return nil, err
		}
		list = append(list, Redirect{Source: r.Scheme + "://" + v.Name, Target: r.Target})
	}
	strict := slices.ContainsFunc(v.Routes, func(r route.Route) bool { return r.TLSOnly })
	if secure && strict && !isRedirectHost(v.Name, list) {
		list = append(list, c.toTLS(v.Name))
	}
	return list, nil
}

// backends leaves out those that are for TLS only unless there is TLS.
func (c *collector) backends(routes []route.Route, secure bool) ([]Backend, error) {
	var list []Backend
	for i := range routes {
		r := &routes[i]
		if r.TLSOnly && !secure {
			continue
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

// targets fills in the endpoints of all upstreams but those of the weight 0: a
// template knows no other weight.
func (c *collector) targets(b *Backend, upstreams []string) error {
	var addrs []netip.AddrPort
	for _, name := range upstreams {
		u, known := c.upstreams[name]
		if !known {
			return fmt.Errorf("the table has no upstream %.80q", name)
		}
		b.SSLBackend, b.HTTP2Backend = u.TLS != nil, u.HTTP2
		if u.Weight != nil && *u.Weight == 0 {
			continue
		}
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
