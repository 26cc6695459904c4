package wire

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ParseOwn reads the start of a packet of ours that came back.
func ParseOwn(p []byte) (t Tuple, sequence uint32, ok bool) {
	var header int
	var from, to netip.Addr
	switch {
	case len(p) >= IPv4Header && p[0]>>4 == 4 && p[9] == ProtocolTCP:
		header = int(p[0]&0xF) * 4
		from, to = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
	case len(p) >= IPv6Header && p[0]>>4 == 6 && p[6] == ProtocolTCP:
		header = IPv6Header
		from, to = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	default:
		return t, 0, false
	}
	if header < IPv4Header || len(p) < header+8 {
		return t, 0, false
	}
	tcp := p[header:]
	return Tuple{
		netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp)),
		netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:])),
	}, binary.BigEndian.Uint32(tcp[4:]), true
}

// Meaning says what Linux makes of an ICMP message (net/ipv4/icmp.c,
// icmp_err_convert; net/ipv6/icmp.c, tab_unreach): an errno, or the size of packet
// that gets through; neither: nothing.
func Meaning(protocol, kind, code byte, p []byte) (why syscall.Errno, size int) {
	switch {
	case protocol == ProtocolICMP && kind == 3: // RFC 792, RFC 1122 section 3.2.2.1
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
	case protocol == ProtocolICMPv6 && kind == 1: // RFC 4443 section 3.1
		switch code {
		case 0:
			return unix.ENETUNREACH, 0
		case 1, 5, 6:
			return unix.EACCES, 0
		case 4:
			return unix.ECONNREFUSED, 0
		}
		return unix.EHOSTUNREACH, 0
	case protocol == ProtocolICMPv6 && kind == 2:
		return 0, int(min(binary.BigEndian.Uint32(p[4:]), MaxPacket))
	}
	return 0, 0
}
