package packet

import (
	"syscall"

	"connbench/clients/stack/wire"
)

// packet takes what the device has brought.
func (e *Engine) packet(p []byte) {
	if len(p) < wire.LinkHeader {
		return
	}
	n, ok := wire.ParseIP(p[wire.LinkHeader:])
	if !ok {
		return
	}
	checked := p[0]&(wire.NeedsChecksum|wire.ValidChecksum) != 0
	switch n.Protocol {
	case wire.ProtocolTCP:
		if !checked && wire.Fold(wire.Sum(n.Payload, wire.Pseudo(n.From, n.To, len(n.Payload)))) != 0xFFFF {
			return
		}
		if e.got.Parse(n) {
			e.receive(&e.got)
		}
	case wire.ProtocolICMP, wire.ProtocolICMPv6:
		e.unreachable(n)
	}
}

// room is where the data of a packet to be sent belongs.
func (e *Engine) room(ipv4 bool) []byte { return wire.Room(e.out[:], ipv4) }

// emit sends a segment with n bytes of data, which are in their room already.
func (e *Engine) emit(t wire.Tuple, sequence, acknowledge uint32, bits byte, n int, mss uint16) syscall.Errno {
	return e.device.Write(wire.Build(e.out[:], t, sequence, acknowledge, bits, receiveWindow, n, mss))
}
