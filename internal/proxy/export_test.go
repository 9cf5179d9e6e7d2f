package proxy

import "strings"

// Spoil makes a route of a host one that no table can have: whoever forwards by it
// panics as soon as he has a connection to an endpoint.
func (s *Server) Spoil(host, root string) {
	t := s.table.Load()
	for _, n := range []*names{&t.plain, &t.secure} {
		if site := n.find([]byte(host)); site != nil {
			spoilt := site.at(root)
			spoilt.rewrite, spoilt.root = true, strings.Repeat("/x", 100)
		}
	}
	s.table.Store(t) // whoever loads it now sees this
}
