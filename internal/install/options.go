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

// Variants are the ways of networking, as docs/overlay.md explains them.
func Variants() []string {
	return []string{"hybrid", "proxy-only", "interlock-only", "application-only"}
}

// Options say what to install.
type Options struct {
	// Variant is one of Variants.
	Variant string
	// ImagePrefix goes before every image's name, such as
	// "registry.example.com/", and Version is the images' tag.
	ImagePrefix, Version string
	// LoadBalancers is the node label that proxies are bound to, as
	// NAME=VALUE; empty lets them run anywhere.
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

// overlayCore says whether core and extension talk over an overlay network.
func (o Options) overlayCore() bool {
	return o.Variant == "proxy-only" || o.Variant == "application-only"
}

// publishMode is the proxies'.
func (o Options) publishMode() string {
	if o.Variant == "hybrid" || o.Variant == "proxy-only" {
		return "host"
	}
	return "ingress"
}
