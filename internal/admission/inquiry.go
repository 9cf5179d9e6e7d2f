package admission

import (
	"maps"
	"net/netip"
	"slices"
)

// MaxAddresses is how many addresses are asked about at a time.
const MaxAddresses = 4096

// Inquiry is what is asked, and what came of it. Its zero value asks nothing. It
// is not safe for concurrent use.
type Inquiry struct {
	round   uint64
	asked   map[netip.AddrPort]uint64 // since which round
	accepts map[netip.AddrPort]bool
}

// Question is what is asked at a time. Another one takes its place.
type Question struct {
	// Round grows with every change.
	Round uint64
	// Addresses are sorted.
	Addresses []netip.AddrPort
}

// Ask replaces what is asked about, and says whether that has changed. Of more
// than MaxAddresses the first count.
func (i *Inquiry) Ask(addresses []netip.AddrPort) (changed bool) {
	addresses = addresses[:min(len(addresses), MaxAddresses)]
	next := make(map[netip.AddrPort]uint64, len(addresses))
	for _, a := range addresses {
		if since, known := i.asked[a]; known {
			next[a] = since
		} else {
			next[a], changed = i.round+1, true
		}
	}
	if !changed && len(next) == len(i.asked) {
		return false
	}
	i.round++
	i.asked = next
	maps.DeleteFunc(i.accepts, func(a netip.AddrPort, _ bool) bool { return next[a] == 0 })
	return true
}

// Accept takes the word that an address accepts connections, from somebody who
// has been asked about it since that round, and says whether it is news. Word of
// who was at the address before comes from an earlier round, and is none.
func (i *Inquiry) Accept(round uint64, a netip.AddrPort) (news bool) {
	since, asked := i.asked[a]
	if !asked || round < since || i.accepts[a] {
		return false
	}
	if i.accepts == nil {
		i.accepts = make(map[netip.AddrPort]bool)
	}
	i.accepts[a] = true
	return true
}

// Accepts are the addresses that accept connections, as a copy.
func (i *Inquiry) Accepts() map[netip.AddrPort]bool { return maps.Clone(i.accepts) }

// Question is what is asked now, without what has been answered.
func (i *Inquiry) Question() Question {
	q := Question{Round: i.round}
	for a := range i.asked {
		if !i.accepts[a] {
			q.Addresses = append(q.Addresses, a)
		}
	}
	slices.SortFunc(q.Addresses, netip.AddrPort.Compare)
	return q
}
