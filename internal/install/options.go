// Package install puts Interlock on a Swarm and takes it off again: it writes
// the stack, compares it with what is there, applies the difference and waits
// until traffic flows.
//
// It makes the core's service with what that needs, and nothing else: the
// extension and the proxies are the core's to make. It talks to no user; what
// is to be shown it returns or hands to whoever listens.
package install

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Variants are the ways of networking, as docs/overlay.md explains them, and
// Standalone.
func Variants() []string {
	return []string{"hybrid", "proxy-only", "interlock-only", "application-only", Standalone}
}

// Standalone is the variant in which one service on managers is all there is.
const Standalone = "standalone"

// The kinds of proxies.
const (
	Nginx  = "nginx"
	Native = "native"
)

// Options say what to install.
type Options struct {
	// Variant is one of Variants.
	Variant string
	// Proxy is Nginx or Native; empty is Nginx, and Native of a standalone.
	Proxy string
	// ImagePrefix goes before every image's name, such as
	// "registry.example.com/", and Version is the images' tag.
	ImagePrefix, Version string
	// LoadBalancers is the node label that proxies are bound to, as
	// NAME=VALUE; empty lets them run anywhere, or on any manager.
	LoadBalancers string
	// Proxies is how many there are.
	Proxies int
	// Port and SSLPort are where clients reach the proxies.
	Port, SSLPort int
}

var (
	imagePrefix = regexp.MustCompile(`^([a-z0-9.:_-]+/)*$`)
	imageTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	nodeLabel   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._-]+$`)
)

// check names every option that cannot be, by the flag that sets it.
func (o Options) check() error {
	var faults []error
	add := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	add(slices.Contains(Variants(), o.Variant), "--variant %q: there are %s", o.Variant, strings.Join(Variants(), ", "))
	add(slices.Contains([]string{"", Nginx, Native}, o.Proxy), "--proxy %q: there are %s, %s", o.Proxy, Nginx, Native)
	add(!o.standalone() || o.Proxy != Nginx, "--proxy %s: a standalone serves clients itself, with the native proxy", o.Proxy)
	add(imagePrefix.MatchString(o.ImagePrefix), "--image-prefix %q is not of the form registry.example.com:5000/folder/", o.ImagePrefix)
	add(imageTag.MatchString(o.Version), "--version %q is not an image's tag", o.Version)
	add(o.LoadBalancers == "" || nodeLabel.MatchString(o.LoadBalancers), "--lb-label %q is not of the form NAME=VALUE", o.LoadBalancers)
	add(o.Proxies > 0 && o.Proxies <= 1000, "--proxies %d is not a number from 1 to 1000", o.Proxies)
	for flag, port := range map[string]int{"--port": o.Port, "--ssl-port": o.SSLPort} {
		add(port > 0 && port < 1<<16, "%s %d is not a port", flag, port)
	}
	add(o.Port != o.SSLPort, "--port and --ssl-port are both %d", o.Port)
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

func (o Options) standalone() bool { return o.Variant == Standalone }

func (o Options) native() bool { return o.Proxy == Native || o.standalone() }

// name is what the stack's files are called.
func (o Options) name() string {
	if o.native() && !o.standalone() {
		return o.Variant + "-" + Native
	}
	return o.Variant
}

// overlayCore says whether core and extension talk over an overlay network.
func (o Options) overlayCore() bool {
	return o.Variant == "proxy-only" || o.Variant == "application-only"
}

// publishMode is the proxies'.
func (o Options) publishMode() string {
	if o.Variant == "hybrid" || o.Variant == "proxy-only" || o.standalone() {
		return "host"
	}
	return "ingress"
}
