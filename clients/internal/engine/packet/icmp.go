package packet

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// unreachable takes an ICMP message (RFC 9293 section 3.9.2.2). What is on the way
// is dropped, but for two kinds about a segment of ours that is not acknowledged
// yet (RFC 5927 section 4.1): that the target cannot be reached ends a connect, and
// that a packet was too big makes segments smaller.
func (e *Engine) unreachable(n network) {
	const header = 8
	if len(n.payload) < header {
		return
	}
	kind, code := n.payload[0], n.payload[1]
	t, sequence, ok := parseOwn(n.payload[header:])
	if !ok {
		return
	}
	i, ok := e.find(t)
	if !ok {
		return
	}
	c := &e.conns[i]
	k := c.flight()
	if k == 0 || before(sequence, e.flights.at(k).unacknowledged) || !before(sequence, c.sendNext) {
		return
	}
	why, size := meaning(n.protocol, kind, code, n.payload)
	switch {
	case size > 0:
		headers := ipv4Header + tcpHeader
		if !t.from.Addr().Is4() {
			headers = ipv6Header + tcpHeader
		}
		if mss := size - headers; mss >= leastSegment && mss < int(c.mss) {
			c.mss = uint16(mss)
		}
	case why != 0 && c.state() != established:
		e.end(i, why)
	}
}

// leastSegment is the smallest segment that a router or a peer may make us send.
const leastSegment = 64

// parseOwn reads the start of a packet of ours that came back.
func parseOwn(p []byte) (t tuple, sequence uint32, ok bool) {
	var header int
	var from, to netip.Addr
	switch {
	case len(p) >= ipv4Header && p[0]>>4 == 4 && p[9] == protocolTCP:
		header = int(p[0]&0xF) * 4
		from, to = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
	case len(p) >= ipv6Header && p[0]>>4 == 6 && p[6] == protocolTCP:
		header = ipv6Header
		from, to = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	default:
		return t, 0, false
	}
	if header < ipv4Header || len(p) < header+8 {
		return t, 0, false
	}
	tcp := p[header:]
	return tuple{
		netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp)),
		netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:])),
	}, binary.BigEndian.Uint32(tcp[4:]), true
}

// meaning says what Linux makes of an ICMP message (net/ipv4/icmp.c,
// icmp_err_convert; net/ipv6/icmp.c, tab_unreach): an errno, or the size of packet
// that gets through; neither: nothing.
func meaning(protocol, kind, code byte, p []byte) (why syscall.Errno, size int) {
	switch {
	case protocol == protocolICMP && kind == 3: // RFC 792, RFC 1122 section 3.2.2.1
		switch code {
		case 0, 6, 9, 11:
			return unix.ENETUNREACH, 0
		case 2:
			return unix.ENOPROTOOPT, 0
		case 3:
			return unix.ECONNREFUSED, 0
		case 4: // RFC 1191
			return 0, int(binary.BigEndian.Uint16(p[6:]))
		}
		return unix.EHOSTUNREACH, 0
	case protocol == protocolICMPv6 && kind == 1: // RFC 4443 section 3.1
		switch code {
		case 0:
			return unix.ENETUNREACH, 0
		case 1, 5, 6:
			return unix.EACCES, 0
		case 4:
			return unix.ECONNREFUSED, 0
		}
		return unix.EHOSTUNREACH, 0
	case protocol == protocolICMPv6 && kind == 2:
		return 0, int(min(binary.BigEndian.Uint32(p[4:]), maxPacket))
	}
	return 0, 0
}
