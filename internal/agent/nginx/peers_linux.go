package nginx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sockets is the kernel's table of the TCP sockets of this network namespace, as
// sock_diag(7) gives it out. The library speaks netlink; its own calls for TCP read
// all sockets there are, those in TIME_WAIT among them, and end none of IPv6.
type sockets struct {
	opened []byte // the filter for ports that the kernel picks
}

// What linux/inet_diag.h and linux/tcp.h number, of which x/sys has nothing.
const (
	diagInfo        = 2 // an attribute: what TCP knows of a socket
	diagBytecode    = 1 // an attribute: a filter
	diagSourceFrom  = 2 // in a filter: the local port is this one or greater
	diagMessageSize = 72
	diagRequestSize = 56
	diagRetransmits = 1 // a timer: for what is not acknowledged

	tcpEstablished = 1 << 1
	tcpCloseWait   = 1 << 8 // the peer has said all, but may owe us acknowledgments
	tcpListen      = 1 << 10
)

// openSockets fails if connections cannot be ended here. It locks the calling
// goroutine to its thread for good, which alone gets the capability for that: the
// container may have it while nginx does not.
func openSockets() (*sockets, error) {
	ports, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return nil, fmt.Errorf("which ports the kernel picks: %w", err)
	}
	var first uint16
	if _, err := fmt.Sscan(string(ports), &first); err != nil {
		return nil, fmt.Errorf("which ports the kernel picks: %w", err)
	}
	runtime.LockOSThread()
	if err := raise(unix.CAP_NET_ADMIN); err != nil {
		return nil, err
	}
	s := &sockets{opened: fromPort(first)}
	// There is no such connection, which the kernel says if it would end one.
	_, err = s.end(pending{local: netip.AddrPortFrom(netip.IPv4Unspecified(), 0), peer: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)})
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("the container lacks CAP_NET_ADMIN, or the program may not use it: %w", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, fmt.Errorf("the kernel was built without CONFIG_INET_DIAG_DESTROY: %w", err)
	}
	return s, err
}

// raise makes a capability effective for this thread, if the process has it at all.
func raise(capability uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("looking for capabilities: %w", err)
	}
	word, bit := &data[capability/32], uint32(1)<<(capability%32)
	if word.Permitted&bit == 0 || word.Effective&bit != 0 {
		return nil
	}
	word.Effective |= bit
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("using a capability: %w", err)
	}
	return nil
}

// fromPort is the filter for local ports that are not below one: two instructions, of
// which the first jumps behind the end, which accepts, or further, which does not.
func fromPort(port uint16) []byte {
	code := []byte{diagSourceFrom, 8}
	code = binary.NativeEndian.AppendUint16(code, 12)
	code = append(code, 0, 0)
	return binary.NativeEndian.AppendUint16(code, port)
}

// sentAgain is the count of what was sent again in this network namespace.
func (s *sockets) sentAgain() (string, error) {
	const name = "RetransSegs"
	counts, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return "", fmt.Errorf("whether something was sent again: %w", err)
	}
	place := -1
	for line := range strings.Lines(string(counts)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != "Tcp:":
		case place < 0: // the names come first
			place = slices.Index(fields, name)
		case place < len(fields):
			return fields[place], nil
		}
	}
	return "", errors.New("the kernel does not count what was sent again")
}

// pending lists the connections with something unacknowledged whose local port the
// kernel may have picked.
func (s *sockets) pending() ([]pending, error) {
	var all []pending
	err := s.each(tcpEstablished|tcpCloseWait, func(message []byte) {
		if timer := message[2]; timer == diagRetransmits {
			if c, known := readPending(message); known {
				all = append(all, c)
			}
		}
	}, nl.NewRtAttr(diagBytecode, s.opened))
	return all, err
}

func (s *sockets) listening() (map[uint16]bool, error) {
	ports := make(map[uint16]bool)
	err := s.each(tcpListen, func(message []byte) { ports[binary.BigEndian.Uint16(message[4:])] = true })
	return ports, err
}

// each gives f all sockets in the states.
func (s *sockets) each(states uint32, f func(message []byte), more ...nl.NetlinkRequestData) error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		header := make([]byte, diagRequestSize)
		header[0], header[1], header[2] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
		binary.NativeEndian.PutUint32(header[4:], states)
		request.AddData(raw(header))
		for _, data := range more {
			request.AddData(data)
		}
		err := request.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(message []byte) bool {
			if len(message) >= diagMessageSize {
				f(message)
			}
			return true
		})
		// A table that changed meanwhile is read again soon.
		if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

// end has the kernel abort a connection: who reads it is told so, and the peer too. It
// returns false if there is no such connection any more.
func (s *sockets) end(c pending) (bool, error) {
	request := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	header := make([]byte, diagRequestSize)
	header[0], header[1] = unix.AF_INET, unix.IPPROTO_TCP
	if c.ipv6 {
		header[0] = unix.AF_INET6
	}
	id := header[8:]
	binary.BigEndian.PutUint16(id, c.local.Port())
	binary.BigEndian.PutUint16(id[2:], c.peer.Port())
	copy(id[4:20], c.local.Addr().AsSlice())
	copy(id[20:36], c.peer.Addr().AsSlice())
	binary.NativeEndian.PutUint32(id[40:], c.cookie[0])
	binary.NativeEndian.PutUint32(id[44:], c.cookie[1])
	request.AddData(raw(header))
	_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return false, nil
	}
	return err == nil, err
}

// readPending reads struct inet_diag_msg and the struct tcp_info that follows it.
func readPending(message []byte) (c pending, known bool) {
	id := message[4:]
	c.ipv6 = message[0] == unix.AF_INET6
	c.local, c.peer = address(id[4:20], id, c.ipv6), address(id[20:36], id[2:], c.ipv6)
	c.cookie = [2]uint32{binary.NativeEndian.Uint32(id[40:]), binary.NativeEndian.Uint32(id[44:])}
	c.inode = binary.NativeEndian.Uint32(message[diagMessageSize-4:])
	attributes, err := nl.ParseRouteAttr(message[diagMessageSize:])
	if err != nil {
		return c, false
	}
	for _, a := range attributes {
		if a.Attr.Type != diagInfo {
			continue
		}
		var info unix.TCPInfo // of an older kernel it is shorter
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)), a.Value)
		c.acked, c.tries = info.Bytes_acked, int(info.Retransmits)
		c.sent = time.Duration(info.Last_data_sent) * time.Millisecond
		closed := len(a.Value) >= int(unsafe.Offsetof(info.Snd_wnd)+unsafe.Sizeof(info.Snd_wnd)) && info.Snd_wnd == 0
		return c, info.Unacked > 0 && !closed
	}
	return c, false
}

func address(ip, port []byte, ipv6 bool) netip.AddrPort {
	addr := netip.AddrFrom16([16]byte(ip))
	if !ipv6 {
		addr = netip.AddrFrom4([4]byte(ip))
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port))
}

// raw is a part of a request as it is sent.
type raw []byte

func (r raw) Len() int { return len(r) }

func (r raw) Serialize() []byte { return r }
