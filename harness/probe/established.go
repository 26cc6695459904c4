package probe

import (
	"encoding/binary"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Established is the number of established TCP connections that programs of this
// network namespace have accepted on local ports. Connections that wait in the
// listen queue are not among them: they have no inode, and no descriptor. Nor are
// those whose peer has closed its end.
//
// The kernel lists them (sock_diag(7)). For each port it looks at every socket of
// the namespace, at about 2 µs each: seconds for millions. To look at the
// descriptors of the processes instead would make it allocate 900 bytes for each.
func Established(ports []int) (count int64, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, port := range ports {
			request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
			request.AddData(diagRequest{family, uint16(port)})
			err := request.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(message []byte) bool {
				if accepted(message) {
					count++
				}
				return true
			})
			if err != nil {
				return 0, err
			}
		}
	}
	return count, nil
}

// accepted is true for a message about a socket that belongs to a file. Its layout
// is inet_diag_msg of include/uapi/linux/inet_diag.h; the inode comes last.
func accepted(message []byte) bool {
	const inode = 68
	return len(message) >= inode+4 && binary.NativeEndian.Uint32(message[inode:]) != 0
}

// diagRequest asks for the established TCP sockets of one family with one local
// port: inet_diag_req_v2 of include/uapi/linux/inet_diag.h.
type diagRequest struct {
	family uint8
	port   uint16
}

func (diagRequest) Len() int { return 56 }

func (r diagRequest) Serialize() []byte {
	const established = 1 // TCP_ESTABLISHED of include/net/tcp_states.h
	head := []byte{r.family, unix.IPPROTO_TCP, 0, 0}
	head = binary.NativeEndian.AppendUint32(head, 1<<established)
	head = binary.BigEndian.AppendUint16(head, r.port)
	return slices.Concat(head, make([]byte, r.Len()-len(head)))
}
