package snapshot

import (
	"net/netip"
	"strings"
)

// NodeAddr chooses where a node is reached from the addresses that Swarm has in
// its status and, of a manager, in that of its manager. It is the zero Addr
// where neither is an address. A manager knows its own node by 0.0.0.0 or a
// loopback address, but its peers know it by the address that it is a manager
// under. A loopback address is taken only if there is no other: of a Swarm of
// one node that was made so.
func NodeAddr(status, manager string) netip.Addr {
	byPeers := hostOf(manager)
	byStatus := hostOf(status)
	switch {
	case byStatus.IsValid() && !byStatus.IsLoopback():
		return byStatus
	case byPeers.IsValid():
		return byPeers
	default:
		return byStatus
	}
}

// hostOf parses an address with or without a port. It returns the zero Addr
// for what is no address, or stands for any.
func hostOf(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	if addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// ParsePrefix parses an address with or without a mask.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}
