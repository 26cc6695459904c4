// Package wire is the form of packets: IP, TCP and ICMP as they are parsed and built,
// checksums, and the initial numbers of sequences. It knows no connection.
package wire

import (
	"encoding/binary"
	"net/netip"
)

// The control bits of a segment (RFC 9293 section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// The header that the device puts before each packet, struct virtio_net_hdr
// (include/uapi/linux/virtio_net.h): flags, kind of large segment, length of the
// headers, bytes in each part of a large segment, where the checksum begins, and
// where in there it belongs. Numbers are in the host's byte order.
const (
	LinkHeader = 10
	// NeedsChecksum is VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is still to be
	// computed, and holds the sum of the pseudo-header so far. Between two ends on
	// one host, it never is.
	NeedsChecksum = 1
	// ValidChecksum is VIRTIO_NET_HDR_F_DATA_VALID: it was found right.
	ValidChecksum = 2
	// LargeIPv4 and LargeIPv6 are VIRTIO_NET_HDR_GSO_TCPV4 and _TCPV6.
	LargeIPv4 = 1
	LargeIPv6 = 4
)

const (
	// MaxPacket is the largest packet, in bytes.
	MaxPacket  = 64 << 10
	IPv4Header = 20
	IPv6Header = 40
	TCPHeader  = 20
	mssOption  = 4
	// ProtocolTCP and the others are protocol numbers of IP.
	ProtocolTCP    = 6
	ProtocolICMP   = 1
	ProtocolICMPv6 = 58
	hopLimit       = 64
)

// MTU is the largest packet on the link, in bytes, and what MSS is computed from:
// that of an Ethernet, so that servers send segments of the usual size.
const MTU = 1500

// OwnMSS is the most bytes in a segment that this side takes: the option in its
// SYN (section 3.7.1).
func OwnMSS(ipv4 bool) uint16 {
	if ipv4 {
		return MTU - IPv4Header - TCPHeader
	}
	return MTU - IPv6Header - TCPHeader
}

// LeastMSS is what a peer takes that does not say (section 3.7.1).
func LeastMSS(ipv4 bool) uint16 {
	if ipv4 {
		return 536
	}
	return 1220
}

// Segment is one that came.
type Segment struct {
	Tuple    Tuple // ours first
	Sequence uint32
	Ack      uint32
	Bits     byte
	Window   uint16
	MSS      uint16 // 0: no option
	Data     []byte
}

// Is reports whether the segment has all of the control bits.
func (s *Segment) Is(bits byte) bool { return s.Bits&bits == bits }

// Length is SEG.LEN: SYN and FIN count (section 3.4).
func (s *Segment) Length() uint32 {
	return uint32(len(s.Data)) + uint32(s.Bits&SYN/SYN) + uint32(s.Bits&FIN)
}

// Network is the part of a packet that IP is about.
type Network struct {
	From, To netip.Addr
	Protocol byte
	Payload  []byte
}

// ParseIP takes a packet apart. It returns false if the packet is not whole, or of a
// kind that does not concern us (fragments, extension headers).
func ParseIP(p []byte) (n Network, ok bool) {
	if len(p) == 0 {
		return n, false
	}
	switch p[0] >> 4 {
	case 4:
		if len(p) < IPv4Header {
			return n, false
		}
		header, total := int(p[0]&0xF)*4, int(binary.BigEndian.Uint16(p[2:]))
		const fragment = 0x3FFF // more to come, or not the first
		if header < IPv4Header || total < header || total > len(p) || binary.BigEndian.Uint16(p[6:])&fragment != 0 || Fold(Sum(p[:header], 0)) != 0xFFFF {
			return n, false
		}
		return Network{netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), p[9], p[header:total]}, true
	case 6:
		if len(p) < IPv6Header {
			return n, false
		}
		total := IPv6Header + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) {
			return n, false
		}
		return Network{netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), p[6], p[IPv6Header:total]}, true
	}
	return n, false
}

// Parse takes a TCP segment apart. It returns false if the segment is not whole.
func (s *Segment) Parse(n Network) bool {
	p := n.Payload
	if len(p) < TCPHeader {
		return false
	}
	header := int(p[12]>>4) * 4
	if header < TCPHeader || header > len(p) {
		return false
	}
	*s = Segment{
		Tuple: Tuple{
			From: netip.AddrPortFrom(n.To, binary.BigEndian.Uint16(p[2:])),
			To:   netip.AddrPortFrom(n.From, binary.BigEndian.Uint16(p)),
		},
		Sequence: binary.BigEndian.Uint32(p[4:]),
		Ack:      binary.BigEndian.Uint32(p[8:]),
		Bits:     p[13],
		Window:   binary.BigEndian.Uint16(p[14:]),
		Data:     p[header:],
	}
	if s.Is(SYN) {
		s.MSS = parseMSS(p[TCPHeader:header])
	}
	return true
}

// parseMSS returns the option MSS (section 3.2), 0 if it is absent.
func parseMSS(options []byte) uint16 {
	const end, nothing, mss = 0, 1, 2
	for len(options) > 0 && options[0] != end {
		if options[0] == nothing {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return 0
		}
		if options[0] == mss && options[1] == mssOption {
			return binary.BigEndian.Uint16(options[2:])
		}
		options = options[options[1]:]
	}
	return 0
}

// LargestData is the most bytes of data in one packet.
const LargestData = MaxPacket - 1 - IPv6Header - TCPHeader

// Room is where the data of a packet that is built in out belongs.
func Room(out []byte, ipv4 bool) []byte {
	if ipv4 {
		return out[LinkHeader+IPv4Header+TCPHeader:]
	}
	return out[LinkHeader+IPv6Header+TCPHeader:]
}

// Build makes a packet of a segment with n bytes of data, which are in their [Room] of
// out already, and returns it. More than mss are a large segment, which the kernel
// divides if it has to. A SYN has the option MSS instead of data.
func Build(out []byte, t Tuple, sequence, acknowledge uint32, bits byte, window uint16, n int, mss uint16) []byte {
	ipv4 := t.From.Addr().Is4()
	header, large := IPv4Header, byte(LargeIPv4)
	if !ipv4 {
		header, large = IPv6Header, LargeIPv6
	}
	tcp := out[LinkHeader+header:]
	size := TCPHeader
	if bits&SYN != 0 {
		size += mssOption
		tcp[20], tcp[21] = 2, mssOption
		binary.BigEndian.PutUint16(tcp[22:], OwnMSS(ipv4))
	}
	binary.BigEndian.PutUint16(tcp, t.From.Port())
	binary.BigEndian.PutUint16(tcp[2:], t.To.Port())
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	binary.BigEndian.PutUint32(tcp[8:], acknowledge)
	tcp[12], tcp[13] = byte(size/4)<<4, bits
	binary.BigEndian.PutUint16(tcp[14:], window)
	binary.BigEndian.PutUint16(tcp[16:], Fold(Pseudo(t.From.Addr(), t.To.Addr(), size+n)))
	binary.BigEndian.PutUint16(tcp[18:], 0)

	ip := out[LinkHeader:]
	if ipv4 {
		from, to := t.From.Addr().As4(), t.To.Addr().As4()
		ip[0], ip[1] = 4<<4|IPv4Header/4, 0
		binary.BigEndian.PutUint16(ip[2:], uint16(header+size+n))
		const doNotFragment = 0x4000 // and so the identification may be 0 (RFC 6864)
		binary.BigEndian.PutUint32(ip[4:], doNotFragment)
		ip[8], ip[9] = hopLimit, ProtocolTCP
		binary.BigEndian.PutUint16(ip[10:], 0)
		copy(ip[12:], from[:])
		copy(ip[16:], to[:])
		binary.BigEndian.PutUint16(ip[10:], ^Fold(Sum(ip[:IPv4Header], 0)))
	} else {
		from, to := t.From.Addr().As16(), t.To.Addr().As16()
		binary.BigEndian.PutUint32(ip, 6<<28)
		binary.BigEndian.PutUint16(ip[4:], uint16(size+n))
		ip[6], ip[7] = ProtocolTCP, hopLimit
		copy(ip[8:], from[:])
		copy(ip[24:], to[:])
	}

	link := out[:LinkHeader]
	link[0], link[1] = NeedsChecksum, 0
	binary.NativeEndian.PutUint16(link[2:], uint16(header+size))
	binary.NativeEndian.PutUint16(link[4:], 0)
	binary.NativeEndian.PutUint16(link[6:], uint16(header))
	binary.NativeEndian.PutUint16(link[8:], 16) // of the checksum in the TCP header
	if n > int(mss) {
		link[1] = large
		binary.NativeEndian.PutUint16(link[4:], mss)
	}
	return out[:LinkHeader+header+size+n]
}

// Pseudo is the sum of the pseudo-header (section 3.1).
func Pseudo(from, to netip.Addr, length int) uint64 {
	if from.Is4() {
		a, b := from.As4(), to.As4()
		return Sum(a[:], Sum(b[:], uint64(length)+ProtocolTCP))
	}
	a, b := from.As16(), to.As16()
	return Sum(a[:], Sum(b[:], uint64(length)+ProtocolTCP))
}

// Sum adds up 16-bit words for a checksum (RFC 1071), four bytes at a time, which
// comes to the same once it is folded.
func Sum(p []byte, so uint64) uint64 {
	for ; len(p) >= 4; p = p[4:] {
		so += uint64(binary.BigEndian.Uint32(p))
	}
	if len(p) >= 2 {
		so += uint64(binary.BigEndian.Uint16(p))
		p = p[2:]
	}
	if len(p) > 0 {
		so += uint64(p[0]) << 8
	}
	return so
}

// Fold makes a sum one of 16 bits.
func Fold(sum uint64) uint16 {
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return uint16(sum)
}

// Tuple is a connection's place in the network: our address and the peer's.
type Tuple struct{ From, To netip.AddrPort }

// Before compares sequence numbers, which wrap around (section 3.4).
func Before(a, b uint32) bool { return int32(a-b) < 0 }
