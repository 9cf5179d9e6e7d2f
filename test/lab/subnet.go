package lab

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// freeSubnet chooses a /24 of 10.213.0.0/16 that no lab, no interface and no
// route of this machine uses.
func freeSubnet(labs []state) (netip.Prefix, error) {
	used, err := addressesInUse()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, s := range labs {
		used = append(used, s.Subnet)
	}
	for i := range 256 {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(i), 0}), 24)
		if !overlapsAny(candidate, used) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, errors.New("no /24 of 10.213.0.0/16 is free: labs, interfaces or routes of this machine use them all")
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}

func addressesInUse() ([]netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var used []netip.Prefix
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p)
		}
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("list this machine's routes: %w", err)
	}
	return append(used, parseRoutes(string(routes))...), nil
}

// parseRoutes reads the destinations from the text of /proc/net/route, except
// the default route's.
func parseRoutes(text string) []netip.Prefix {
	var all []netip.Prefix
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		destination, err1 := hostOrder(f[1])
		mask, err2 := hostOrder(f[7])
		if err1 != nil || err2 != nil {
			continue
		}
		if bits, _ := net.IPMask(mask[:]).Size(); bits > 0 {
			all = append(all, netip.PrefixFrom(netip.AddrFrom4(destination), bits))
		}
	}
	return all
}

// hostOrder reads four bytes as the kernel prints them: the number that they are
// in this machine's byte order.
func hostOrder(text string) (address [4]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return address, fmt.Errorf("%q is no IPv4 address", text)
	}
	binary.NativeEndian.PutUint32(address[:], binary.BigEndian.Uint32(raw))
	return address, nil
}
