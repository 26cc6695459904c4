package stack

import (
	"syscall"

	"connbench/clients/stack/wire"
)

// packet takes what the device has brought.
func (e *Stack) packet(p []byte) {
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

// emit sends a segment with n bytes of data, which are in their room already.
func (e *Stack) emit(t wire.Tuple, sequence, acknowledge uint32, bits byte, window uint16, n int, mss uint16) syscall.Errno {
	return e.device.Write(wire.Build(e.out[:], t, sequence, acknowledge, bits, window, n, mss))
}

// reset sends a segment for which there is no connection.
func (e *Stack) reset(t wire.Tuple, sequence, acknowledge uint32, bits byte) {
	e.emit(t, sequence, acknowledge, bits, receiveWindow, 0, 0)
}
