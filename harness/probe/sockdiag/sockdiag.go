// Package sockdiag asks the kernel about TCP sockets (sock_diag(7)).
package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Established is the number of established TCP connections that programs of this
// network namespace have accepted on the addresses that they listen on. Connections
// that wait in the listen queue are not among them: they have no inode, and no
// descriptor. Nor are those whose peer has closed its end. An unspecified address
// (0.0.0.0 or ::) stands for all addresses with that port.
//
// The kernel lists all established sockets (sock_diag(7)), at about 2 µs each:
// seconds for millions. To look at the descriptors of the processes instead would
// make it allocate 900 bytes for each.
func Established(addresses []netip.AddrPort) (count int64, err error) {
	wanted := map[netip.AddrPort]bool{}
	for _, address := range addresses {
		wanted[key(address)] = true
	}
	const established = 1 // TCP_ESTABLISHED of include/net/tcp_states.h
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		request.AddData(diagRequest{family, established})
		err := request.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(message []byte) bool {
			local, owned := socketOf(message)
			if owned && (wanted[local] || wanted[netip.AddrPortFrom(netip.Addr{}, local.Port())]) {
				count++
			}
			return true
		})
		if err != nil {
			return 0, err
		}
	}
	return count, nil
}

// key is an address as it is looked up: IPv4 as such, and no address for all.
func key(address netip.AddrPort) netip.AddrPort {
	if address.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.Addr{}, address.Port())
	}
	return netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
}

// socketOf reads the local address off a message about a socket, and whether the
// socket belongs to a file. Its layout is inet_diag_msg of
// include/uapi/linux/inet_diag.h: the family, then in inet_diag_sockid the ports and
// the addresses; the inode comes last.
func socketOf(message []byte) (local netip.AddrPort, owned bool) {
	const port, address, inode = 4, 8, 68
	if len(message) < inode+4 {
		return local, false
	}
	from := netip.AddrFrom4([4]byte(message[address : address+4]))
	if message[0] == unix.AF_INET6 {
		from = netip.AddrFrom16([16]byte(message[address : address+16])).Unmap()
	}
	local = netip.AddrPortFrom(from, binary.BigEndian.Uint16(message[port:]))
	return local, binary.NativeEndian.Uint32(message[inode:]) != 0
}

// diagRequest asks for the TCP sockets of one family in one state of
// include/net/tcp_states.h: inet_diag_req_v2 of include/uapi/linux/inet_diag.h.
type diagRequest struct{ family, state uint8 }

func (diagRequest) Len() int { return 56 }

func (r diagRequest) Serialize() []byte {
	head := []byte{r.family, unix.IPPROTO_TCP, 0, 0}
	head = binary.NativeEndian.AppendUint32(head, 1<<r.state)
	return slices.Concat(head, make([]byte, r.Len()-len(head)))
}
