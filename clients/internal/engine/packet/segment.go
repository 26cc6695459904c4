package packet

import (
	"encoding/binary"
	"net/netip"
	"syscall"
)

// The control bits of a segment (RFC 9293 section 3.1).
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// The header that the device puts before each packet, struct virtio_net_hdr
// (include/uapi/linux/virtio_net.h): flags, kind of large segment, length of the
// headers, bytes in each part of a large segment, where the checksum begins, and
// where in there it belongs. Numbers are in the host's byte order.
const (
	linkHeader = 10
	// needsChecksum is VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is still to be
	// computed, and holds the sum of the pseudo-header so far. Between two ends on
	// one host, it never is.
	needsChecksum = 1
	// validChecksum is VIRTIO_NET_HDR_F_DATA_VALID: it was found right.
	validChecksum = 2
	// largeIPv4 and largeIPv6 are VIRTIO_NET_HDR_GSO_TCPV4 and _TCPV6.
	largeIPv4 = 1
	largeIPv6 = 4
)

const (
	// maxPacket is the largest packet, in bytes.
	maxPacket  = 64 << 10
	ipv4Header = 20
	ipv6Header = 40
	tcpHeader  = 20
	mssOption  = 4
	// protocolTCP and the others are protocol numbers of IP.
	protocolTCP    = 6
	protocolICMP   = 1
	protocolICMPv6 = 58
	hopLimit       = 64
)

// mtu is the largest packet on the link, in bytes, and what MSS is computed from:
// that of an Ethernet, so that servers send segments of the usual size.
const mtu = 1500

// ownMSS is the most bytes in a segment that this side takes: the option in its
// SYN (section 3.7.1).
func ownMSS(ipv4 bool) uint16 {
	if ipv4 {
		return mtu - ipv4Header - tcpHeader
	}
	return mtu - ipv6Header - tcpHeader
}

// leastMSS is what a peer takes that does not say (section 3.7.1).
func leastMSS(ipv4 bool) uint16 {
	if ipv4 {
		return 536
	}
	return 1220
}

// segment is one that came.
type segment struct {
	tuple    tuple // ours first
	sequence uint32
	ack      uint32
	bits     byte
	window   uint16
	mss      uint16 // 0: no option
	data     []byte
}

func (s *segment) is(bits byte) bool { return s.bits&bits == bits }

// length is SEG.LEN: SYN and FIN count (section 3.4).
func (s *segment) length() uint32 {
	return uint32(len(s.data)) + uint32(s.bits&syn/syn) + uint32(s.bits&fin)
}

// network is the part of a packet that IP is about.
type network struct {
	from, to netip.Addr
	protocol byte
	payload  []byte
}

// parseIP takes a packet apart. False: it is none that concerns us (fragments,
// extension headers) or not whole.
func parseIP(p []byte) (n network, ok bool) {
	if len(p) == 0 {
		return n, false
	}
	switch p[0] >> 4 {
	case 4:
		if len(p) < ipv4Header {
			return n, false
		}
		header, total := int(p[0]&0xF)*4, int(binary.BigEndian.Uint16(p[2:]))
		const fragment = 0x3FFF // more to come, or not the first
		if header < ipv4Header || total < header || total > len(p) || binary.BigEndian.Uint16(p[6:])&fragment != 0 || fold(sum(p[:header], 0)) != 0xFFFF {
			return n, false
		}
		return network{netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), p[9], p[header:total]}, true
	case 6:
		if len(p) < ipv6Header {
			return n, false
		}
		total := ipv6Header + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) {
			return n, false
		}
		return network{netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), p[6], p[ipv6Header:total]}, true
	}
	return n, false
}

// parse takes a TCP segment apart. False: it is not whole.
func (s *segment) parse(n network) bool {
	p := n.payload
	if len(p) < tcpHeader {
		return false
	}
	header := int(p[12]>>4) * 4
	if header < tcpHeader || header > len(p) {
		return false
	}
	*s = segment{
		tuple: tuple{
			from: netip.AddrPortFrom(n.to, binary.BigEndian.Uint16(p[2:])),
			to:   netip.AddrPortFrom(n.from, binary.BigEndian.Uint16(p)),
		},
		sequence: binary.BigEndian.Uint32(p[4:]),
		ack:      binary.BigEndian.Uint32(p[8:]),
		bits:     p[13],
		window:   binary.BigEndian.Uint16(p[14:]),
		data:     p[header:],
	}
	if s.is(syn) {
		s.mss = parseMSS(p[tcpHeader:header])
	}
	return true
}

// parseMSS finds the option MSS (section 3.2); 0: there is none.
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

// packet takes what the device has brought.
func (e *Engine) packet(p []byte) {
	if len(p) < linkHeader {
		return
	}
	n, ok := parseIP(p[linkHeader:])
	if !ok {
		return
	}
	checked := p[0]&(needsChecksum|validChecksum) != 0
	switch n.protocol {
	case protocolTCP:
		if !checked && fold(sum(n.payload, pseudo(n.from, n.to, len(n.payload)))) != 0xFFFF {
			return
		}
		if e.got.parse(n) {
			e.receive(&e.got)
		}
	case protocolICMP, protocolICMPv6:
		e.unreachable(n)
	}
}

// room is where the data of a packet to be sent belongs.
func (e *Engine) room(ipv4 bool) []byte {
	if ipv4 {
		return e.out[linkHeader+ipv4Header+tcpHeader:]
	}
	return e.out[linkHeader+ipv6Header+tcpHeader:]
}

// largestData is the most bytes of data in one packet.
const largestData = maxPacket - 1 - ipv6Header - tcpHeader

// emit sends a segment with n bytes of data, which are in their room already. More
// than mss are a large segment, which the kernel divides if it has to. A SYN has
// the option MSS instead of data.
func (e *Engine) emit(t tuple, sequence, acknowledge uint32, bits byte, n int, mss uint16) syscall.Errno {
	ipv4 := t.from.Addr().Is4()
	header, large := ipv4Header, byte(largeIPv4)
	if !ipv4 {
		header, large = ipv6Header, largeIPv6
	}
	tcp := e.out[linkHeader+header:]
	size := tcpHeader
	if bits&syn != 0 {
		size += mssOption
		tcp[20], tcp[21] = 2, mssOption
		binary.BigEndian.PutUint16(tcp[22:], ownMSS(ipv4))
	}
	binary.BigEndian.PutUint16(tcp, t.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], t.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	binary.BigEndian.PutUint32(tcp[8:], acknowledge)
	tcp[12], tcp[13] = byte(size/4)<<4, bits
	binary.BigEndian.PutUint16(tcp[14:], receiveWindow)
	binary.BigEndian.PutUint16(tcp[16:], fold(pseudo(t.from.Addr(), t.to.Addr(), size+n)))
	binary.BigEndian.PutUint16(tcp[18:], 0)

	ip := e.out[linkHeader:]
	if ipv4 {
		from, to := t.from.Addr().As4(), t.to.Addr().As4()
		ip[0], ip[1] = 4<<4|ipv4Header/4, 0
		binary.BigEndian.PutUint16(ip[2:], uint16(header+size+n))
		const doNotFragment = 0x4000 // and so the identification may be 0 (RFC 6864)
		binary.BigEndian.PutUint32(ip[4:], doNotFragment)
		ip[8], ip[9] = hopLimit, protocolTCP
		binary.BigEndian.PutUint16(ip[10:], 0)
		copy(ip[12:], from[:])
		copy(ip[16:], to[:])
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip[:ipv4Header], 0)))
	} else {
		from, to := t.from.Addr().As16(), t.to.Addr().As16()
		binary.BigEndian.PutUint32(ip, 6<<28)
		binary.BigEndian.PutUint16(ip[4:], uint16(size+n))
		ip[6], ip[7] = protocolTCP, hopLimit
		copy(ip[8:], from[:])
		copy(ip[24:], to[:])
	}

	link := e.out[:linkHeader]
	link[0], link[1] = needsChecksum, 0
	binary.NativeEndian.PutUint16(link[2:], uint16(header+size))
	binary.NativeEndian.PutUint16(link[4:], 0)
	binary.NativeEndian.PutUint16(link[6:], uint16(header))
	binary.NativeEndian.PutUint16(link[8:], 16) // of the checksum in the TCP header
	if n > int(mss) {
		link[1] = large
		binary.NativeEndian.PutUint16(link[4:], mss)
	}
	return e.device.write(e.out[:linkHeader+header+size+n])
}

// pseudo is the sum of the pseudo-header (section 3.1).
func pseudo(from, to netip.Addr, length int) uint64 {
	if from.Is4() {
		a, b := from.As4(), to.As4()
		return sum(a[:], sum(b[:], uint64(length)+protocolTCP))
	}
	a, b := from.As16(), to.As16()
	return sum(a[:], sum(b[:], uint64(length)+protocolTCP))
}

// sum adds up 16-bit words for a checksum (RFC 1071), four bytes at a time, which
// comes to the same once it is folded.
func sum(p []byte, so uint64) uint64 {
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

// fold makes a sum one of 16 bits.
func fold(sum uint64) uint16 {
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return uint16(sum)
}
