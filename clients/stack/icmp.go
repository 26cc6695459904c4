package stack

import "connbench/clients/stack/wire"

// unreachable takes an ICMP message (RFC 9293 section 3.9.2.2). What is on the way
// is dropped, but for two kinds about a segment of ours that is not acknowledged
// yet (RFC 5927 section 4.1): that the target cannot be reached ends a connect, and
// that a packet was too big makes segments smaller.
func (e *Stack) unreachable(n wire.Network) {
	const header = 8
	if len(n.Payload) < header {
		return
	}
	kind, code := n.Payload[0], n.Payload[1]
	t, sequence, ok := wire.ParseOwn(n.Payload[header:])
	if !ok {
		return
	}
	i, ok := e.places.Find(t)
	if !ok {
		return
	}
	c := &e.conns[i]
	k := c.flight()
	if k == 0 || wire.Before(sequence, e.flights.at(k).unacknowledged) || !wire.Before(sequence, c.sendNext) {
		return
	}
	why, size := wire.Meaning(n.Protocol, kind, code, n.Payload)
	switch {
	case size > 0:
		headers := wire.IPv4Header + wire.TCPHeader
		if !t.From.Addr().Is4() {
			headers = wire.IPv6Header + wire.TCPHeader
		}
		if mss := size - headers; mss >= leastSegment && mss < int(c.mss) {
			c.mss = uint16(mss)
		}
	case why != 0 && c.state() < established:
		e.end(i, why)
	}
}

// leastSegment is the smallest segment that a router or a peer may make us send.
const leastSegment = 64
