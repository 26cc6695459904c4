package packet

import (
	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/stack/wheel"
	"connbench/clients/stack/wire"
)

// receive takes a segment (RFC 9293 section 3.10.7).
func (e *Engine) receive(s *wire.Segment) {
	i, ok := e.find(s.Tuple)
	if !ok {
		e.refuse(s)
		return
	}
	if e.conns[i].state() == synSent {
		e.answered(i, s)
	} else {
		e.arrived(i, s)
	}
	e.rest(i)
}

// refuse answers a segment for which there is no connection (section 3.10.7.1).
func (e *Engine) refuse(s *wire.Segment) {
	switch {
	case s.Is(wire.RST) || !e.share.Sources().Contains(s.Tuple.From.Addr()):
	case s.Is(wire.ACK):
		e.emit(s.Tuple, s.Ack, 0, wire.RST, 0, 0)
	default:
		e.emit(s.Tuple, 0, s.Sequence+s.Length(), wire.RST|wire.ACK, 0, 0)
	}
}

// end forgets connection i and says why: an errno, or control.Closed.
func (e *Engine) end(i int, why error) {
	e.forget(i)
	e.h.Closed(i, engine.Failure{Err: why})
}

// answered takes the answer to a SYN (section 3.10.7.3).
func (e *Engine) answered(i int, s *wire.Segment) {
	c := &e.conns[i]
	if s.Is(wire.ACK) && s.Ack != c.sendNext {
		if !s.Is(wire.RST) {
			e.emit(s.Tuple, s.Ack, 0, wire.RST, 0, 0)
		}
		return
	}
	switch {
	case s.Is(wire.RST | wire.ACK):
		e.end(i, unix.ECONNREFUSED)
	case s.Is(wire.RST) || !s.Is(wire.SYN):
	default:
		// What comes with the SYN is left out, and comes again.
		f := e.flightOf(i)
		c.receiveNext = s.Sequence + 1
		c.window = s.Window
		if s.MSS != 0 {
			c.mss = min(max(s.MSS, leastSegment), wire.OwnMSS(e.share.IPv4()))
		}
		if !s.Is(wire.ACK) { // the peer began, too
			c.become(synReceived)
			e.put(i, f.unacknowledged, wire.SYN, 0)
			return
		}
		e.opened(i, f)
	}
}

// opened takes connection i, whose SYN is acknowledged, to ESTABLISHED. The ACK of
// the peer's SYN goes with the first bytes, if there are any at once.
func (e *Engine) opened(i int, f *flight) {
	c := &e.conns[i]
	c.become(established)
	if f.is(timing) {
		e.roundTrip.add(e.now - f.timedAt)
	}
	f.flags, f.tries, f.backoff, f.retransmit = 0, 0, 0, 0
	f.unacknowledged, f.at = c.sendNext, c.sendNext
	f.congestion = initialWindow(uint32(c.mss))
	f.owed = 1
	e.h.Opened(i)
	if k := c.flight(); k != 0 && e.flights.at(k).owed > 0 {
		e.acknowledgeNow(i)
	}
}

// arrived takes a segment of a connection on which the peer's SYN has come
// (section 3.10.7.4).
func (e *Engine) arrived(i int, s *wire.Segment) {
	c := &e.conns[i]
	// First, the sequence number.
	if !e.acceptable(c, s) {
		switch keepalive := s.Sequence == c.receiveNext-1; {
		case s.Is(wire.RST):
		case s.Is(wire.SYN):
			e.challenge(i)
		case len(s.Data) > 0 || s.Is(wire.FIN) || keepalive:
			e.acknowledgeNow(i)
		default:
			e.challenge(i) // or two that disagree could go on for ever
		}
		return
	}
	switch {
	case s.Is(wire.RST): // second, RST (RFC 5961 section 3.2)
		if s.Sequence == c.receiveNext {
			why := unix.ECONNRESET
			if c.state() == synReceived {
				why = unix.ECONNREFUSED
			}
			e.end(i, why)
		} else {
			e.challenge(i)
		}
		return
	case s.Is(wire.SYN): // fourth, SYN (RFC 5961 section 4.2)
		e.challenge(i)
		return
	case !s.Is(wire.ACK): // fifth, ACK
		return
	}
	if c.state() == synReceived {
		if s.Ack != c.sendNext {
			e.emit(s.Tuple, s.Ack, 0, wire.RST, 0, 0)
			return
		}
		c.window = s.Window
		e.opened(i, e.flightOf(i))
		if !c.alive() {
			return
		}
	}
	if !e.acknowledged(i, s) {
		return
	}
	// Seventh, the text; eighth, FIN.
	if wire.Before(c.receiveNext, s.Sequence) {
		if s.Length() > 0 {
			e.acknowledgeNow(i) // a duplicate ACK, at once (section 3.8.6.3)
		}
		return
	}
	data := s.Data[min(c.receiveNext-s.Sequence, uint32(len(s.Data))):]
	if len(data) > 0 {
		c.receiveNext += uint32(len(data))
		e.owe(i, uint32(len(data)))
		e.h.Data(i, data)
		if !c.alive() {
			return
		}
	}
	if s.Is(wire.FIN) && c.receiveNext == s.Sequence+uint32(len(s.Data)) {
		c.receiveNext++
		e.Close(i)
		e.h.Closed(i, engine.Failure{Err: control.Closed})
		return
	}
	e.acknowledge(i)
}

// acceptable is the test of section 3.10.7.4, table 6, for a window that is
// never closed.
func (e *Engine) acceptable(c *conn, s *wire.Segment) bool {
	within := func(sequence uint32) bool { return sequence-c.receiveNext < receiveWindow }
	length := s.Length()
	return within(s.Sequence) || length > 0 && within(s.Sequence+length-1)
}

// owe notes that bytes have come.
func (e *Engine) owe(i int, n uint32) { e.flightOf(i).owed += n }

// acknowledge sees to the ACK of bytes that have come, unless they went with
// something else: at once for every second full segment (section 3.8.6.3).
func (e *Engine) acknowledge(i int) {
	k := e.conns[i].flight()
	if k == 0 {
		return
	}
	switch f := e.flights.at(k); {
	case f.owed == 0:
	case f.owed >= 2*uint32(wire.OwnMSS(e.share.IPv4())):
		e.acknowledgeNow(i)
	case f.acknowledge == 0:
		f.acknowledge = e.timers.At(e.now) + wheel.Ticks(ackDelay)
	}
}

// acknowledged takes the ACK of a segment. It returns false if the rest of the segment
// must be ignored.
func (e *Engine) acknowledged(i int, s *wire.Segment) bool {
	c := &e.conns[i]
	unacknowledged := c.sendNext
	k := c.flight()
	if k != 0 {
		unacknowledged = e.flights.at(k).unacknowledged
	}
	switch {
	case wire.Before(c.sendNext, s.Ack):
		e.challenge(i) // of what was not sent
		return false
	case wire.Before(s.Ack, unacknowledged-receiveWindow):
		e.challenge(i) // RFC 5961 section 5.2: too old
		return false
	case wire.Before(s.Ack, unacknowledged):
		return true
	}
	window := c.window
	// Section 3.10.7.4 guards the window by SND.WL1 and SND.WL2. Here what is not
	// in order is dropped, and this is the newest that was said.
	if !wire.Before(c.receiveNext, s.Sequence) {
		c.window = s.Window
	}
	if k == 0 {
		return true
	}
	f := e.flights.at(k)
	switch {
	case s.Ack != unacknowledged:
		e.advance(f, s.Ack)
	case c.window == 0:
		f.tries = 0 // section 3.8.6.1: while it answers, it lives
	case len(s.Data) == 0 && !s.Is(wire.FIN) && s.Window == window && f.outstanding() > 0:
		e.duplicate(f)
	case window == 0:
		// The window opened: what was beyond it is sent at once.
		f.tries, f.backoff, f.retransmit = 0, 0, 0
		f.at = f.unacknowledged
	}
	e.output(f)
	if f.is(blocked) && !f.is(starved) && f.queued <= maxQueued/2 {
		f.clear(blocked)
		e.h.Writable(i)
	}
	return c.alive()
}

// advance moves SND.UNA on.
func (e *Engine) advance(f *flight, to uint32) {
	c := &e.conns[f.conn]
	n := to - f.unacknowledged
	e.drop(f, n)
	f.unacknowledged = to
	if wire.Before(f.at, to) {
		f.at = to // it was on its way back to what has come after all
	}
	f.tries, f.backoff, f.duplicates = 0, 0, 0
	if f.is(timing) && !wire.Before(to, f.timed) {
		e.roundTrip.add(e.now - f.timedAt)
		f.clear(timing)
	}
	mss := uint32(c.mss)
	switch {
	case f.is(recovering) && wire.Before(to, f.recover): // RFC 6582 section 3.2, step 3
		e.again(f, min(f.queued, mss))
		f.congestion = max(f.congestion-min(n, f.congestion)+mss, mss)
	case f.is(recovering):
		f.clear(recovering)
		f.congestion = f.threshold
	case f.congestion < f.threshold: // RFC 5681 section 3.1
		f.congestion += min(n, mss)
	default:
		f.congestion += max(mss*mss/f.congestion, 1)
	}
	f.congestion = min(f.congestion, 2*maxQueued)
	f.retransmit = 0
	if f.queued > 0 {
		f.retransmit = e.timers.At(e.now) + 1 + wheel.Ticks(e.roundTrip.timeout(0))
	}
}

// duplicate takes an ACK of nothing new (RFC 5681 section 3.2).
func (e *Engine) duplicate(f *flight) {
	mss := uint32(e.conns[f.conn].mss)
	if f.is(recovering) {
		f.congestion = min(f.congestion+mss, 2*maxQueued)
		return
	}
	if f.duplicates++; f.duplicates == 3 {
		f.recover = e.conns[f.conn].sendNext
		f.threshold = max(f.outstanding()/2, 2*mss)
		f.congestion = f.threshold + 3*mss
		f.set(recovering)
		e.again(f, min(f.queued, mss))
	}
}

// challenges bounds challenge ACKs (RFC 5961 section 7), nothing else.
type challenges struct {
	second int64
	left   int
}

const challengesPerSecond = 1000

// challenge sends an ACK that says what is expected, to who may not be the peer.
func (e *Engine) challenge(i int) {
	if second := e.now / 1e9; second != e.challenges.second {
		e.challenges = challenges{second, challengesPerSecond}
	}
	if e.challenges.left > 0 {
		e.challenges.left--
		e.acknowledgeNow(i)
	}
}
