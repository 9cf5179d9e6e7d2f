package proxy

import "bytes"

// table is a route.Table made ready for requests. It never changes; what does,
// the members of its pools, is replaced inside of them.
type table struct {
	exact map[string]*site
	// wildcards are the sites of "*.example.com" by "example.com"; no name there
	// has more labels than depth.
	wildcards map[string]*site
	depth     int
	fallback  *site // nil: nobody answers for the hosts that nobody names
}

// site is one host, or all those that no host names.
type site struct {
	redirect string // target of plain requests; empty: they are served
	roots    map[string]*target
	// depth is how many segments the longest root has.
	depth int
}

// target is where the requests of a route go.
type target struct {
	root       string // without a slash at its end
	rewrite    bool
	websockets []string
	pool       *pool
	// tls says that the endpoints speak it.
	tls bool
}

// site returns who answers for a canonical host; nil: nobody.
func (t *table) site(host []byte) *site {
	if s := t.exact[string(host)]; s != nil {
		return s
	}
	if s := t.wildcard(host); s != nil {
		return s
	}
	return t.fallback
}

// wildcard finds the longest name that has the host below it.
func (t *table) wildcard(host []byte) *site {
	if len(t.wildcards) == 0 {
		return nil
	}
	for skip := bytes.Count(host, dot) + 1 - t.depth; ; skip-- {
		i := bytes.IndexByte(host, '.')
		if i < 0 {
			return nil
		}
		// The names that are longer than any wildcard need no look.
		if host = host[i+1:]; skip <= 1 {
			if s := t.wildcards[string(host)]; s != nil {
				return s
			}
		}
	}
}

var dot = []byte(".")

// target finds the longest root that a path is at or below; nil: there is none.
func (s *site) target(path []byte) *target {
	best := s.roots[""]
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
