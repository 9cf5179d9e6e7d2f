package proxy

import (
	"bytes"
	"strings"
)

// table is a route.Table made ready for requests. It never changes; what does,
// the members of its pools, is replaced inside of them.
type table struct {
	// plain are the hosts that answer without TLS, secure all that it decides
	// about. A host may be in both.
	plain, secure names
	fallback      *site // nil: nobody answers for the hosts that nobody names
}

// names finds what stands for a canonical host.
type names struct {
	exact map[string]*site
	// wildcards are the sites of "*.example.com" by "example.com"; no name there
	// has more labels than depth.
	wildcards map[string]*site
	depth     int
}

// site is one host, or all those that no host names.
type site struct {
	// redirect and secureRedirect are the targets of plain requests and of those
	// over TLS; empty: they are served.
	redirect, secureRedirect string
	// policy is what the host is served with over TLS; nil: it is not.
	policy *policy
	// through takes the host's TLS connections as they are; nil: they end here.
	through *pool
	// tally counts the requests for the host that no service answers, passed the
	// connections that are handed on, by service.
	tally  *tally
	passed []*tally
	// handsOn redirects all plain requests to TLS.
	handsOn bool
	// top is the target for the root "", which most hosts have alone; roots are
	// the others, depth is how many segments the longest has.
	top   *target
	roots map[string]*target
	depth int
}

// at returns the target of a root itself.
func (s *site) at(root string) *target {
	if root == "" {
		return s.top
	}
	return s.roots[root]
}

// add adds a target to a site that will have so many.
func (s *site) add(t *target, of int) {
	if t.root == "" {
		s.top = t
		return
	}
	if s.roots == nil {
		s.roots = make(map[string]*target, of)
	}
	s.roots[t.root] = t
	s.depth = max(s.depth, strings.Count(t.root, "/"))
}

// target is where the requests of a route go.
type target struct {
	root       string // without a slash at its end
	rewrite    bool
	tlsOnly    bool
	websockets []string
	pool       *pool
	// tls and http2 say that the endpoints speak it.
	tls, http2 bool
	// tallies count the requests, by service.
	tallies []*tally
}

// find returns who stands for a host; nil: nobody.
func (n *names) find(host []byte) *site {
	if s := n.exact[string(host)]; s != nil {
		return s
	}
	return n.wildcard(host)
}

// wildcard finds the longest name that has the host below it.
func (n *names) wildcard(host []byte) *site {
	if len(n.wildcards) == 0 {
		return nil
	}
	for skip := bytes.Count(host, dot) + 1 - n.depth; ; skip-- {
		i := bytes.IndexByte(host, '.')
		if i < 0 {
			return nil
		}
		// The names that are longer than any wildcard need no look.
		if host = host[i+1:]; skip <= 1 {
			if s := n.wildcards[string(host)]; s != nil {
				return s
			}
		}
	}
}

var dot = []byte(".")

// target finds the longest root that a path is at or below; nil: there is none.
func (s *site) target(path []byte) *target {
	best := s.top
	for end, n := 0, 0; n < s.depth && end < len(path); n++ {
		next := bytes.IndexByte(path[end+1:], '/')
		if next < 0 {
			end = len(path)
		} else {
			end += 1 + next
		}
		if t := s.roots[string(path[:end])]; t != nil {
			best = t
		}
	}
	return best
}

// upgrades reports whether requests for a path may become websockets.
func (t *target) upgrades(path []byte) bool {
	for _, w := range t.websockets {
		if len(path) >= len(w) && string(path[:len(w)]) == w && (len(path) == len(w) || path[len(w)] == '/') {
			return true
		}
	}
	return false
}
