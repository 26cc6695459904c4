package stack

import (
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"connbench/clients/stack/wheel"
	"connbench/clients/stack/wire"
)

// receive takes a segment (RFC 9293 section 3.10.7).
func (e *Stack) receive(s *wire.Segment) {
	i, ok := e.places.Find(s.Tuple)
	switch {
	case !ok:
		e.unknown(s)
		return
	case e.conns[i].state() == synSent:
		e.answered(i, s)
	case e.conns[i].state() == timeWait && s.Bits&(wire.SYN|wire.ACK|wire.RST) == wire.SYN && wire.Before(e.conns[i].receiveNext, s.Sequence):
		// Section 3.10.7.4, fourth: the tuple is used again.
		e.end(i, nil)
		e.unknown(s)
		return
	default:
		e.arrived(i, s)
	}
	e.rest(i)
}

// unknown takes a segment for which there is no connection: a SYN to a listener begins
// one (section 3.10.7.2), everything else is answered by a reset (section 3.10.7.1).
func (e *Stack) unknown(s *wire.Segment) {
	if s.Bits&(wire.SYN|wire.ACK|wire.RST|wire.FIN) == wire.SYN {
		switch i, answer := e.places.Take(s.Tuple); answer {
		case Taken:
			if e.halfOpen.count >= e.mostHalfOpen && e.mostHalfOpen > 0 {
				// A flood of SYNs may push out what is half open, and nothing else.
				e.forget(int(e.flights.at(e.halfOpen.oldest).conn))
			}
			e.accept(i, s)
			return
		case Full:
			return // as a kernel whose accept queue is full: the peer tries again
		}
	}
	switch {
	case s.Is(wire.RST) || !e.places.Ours(s.Tuple.From.Addr()):
	case s.Is(wire.ACK):
		e.reset(s.Tuple, s.Ack, 0, wire.RST)
	default:
		e.reset(s.Tuple, 0, s.Sequence+s.Length(), wire.RST|wire.ACK)
	}
}

// end forgets connection i and tells its handler why, if that knows of it and has not
// closed it: an errno, or nil for an orderly end.
func (e *Stack) end(i int, why error) {
	silent := false
	if k := e.conns[i].flight(); k != 0 {
		silent = e.flights.at(k).flags&(orphan|passive) != 0
	}
	e.forget(i)
	if !silent {
		e.h.Closed(i, why)
	}
}

// answered takes the answer to a SYN (section 3.10.7.3).
func (e *Stack) answered(i int, s *wire.Segment) {
	c := &e.conns[i]
	if s.Is(wire.ACK) && s.Ack != c.sendNext {
		if !s.Is(wire.RST) {
			e.reset(s.Tuple, s.Ack, 0, wire.RST)
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
			c.mss = segmentSize(s)
		}
		if !s.Is(wire.ACK) { // the peer began, too
			c.become(synReceived)
			e.put(i, s.Tuple, f.unacknowledged, wire.SYN, 0)
			return
		}
		f.owed = 1
		e.opened(i, f)
	}
}

// opened takes connection i, whose SYN is acknowledged, to ESTABLISHED. If the peer's
// SYN is owed an ACK, that goes with the first bytes if there are any at once.
func (e *Stack) opened(i int, f *flight) {
	c := &e.conns[i]
	c.become(established)
	if f.is(timing) {
		e.roundTrip.add(e.now - f.timedAt)
	}
	if f.is(passive) {
		e.halfOpen.remove(&e.flights, c.flight())
	}
	f.flags, f.tries, f.backoff, f.retransmit = 0, 0, 0, 0
	f.unacknowledged, f.at = c.sendNext, c.sendNext
	f.congestion = initialWindow(uint32(c.mss))
	e.h.Opened(i)
	if k := c.flight(); k != 0 && e.flights.at(k).owed > 0 {
		e.acknowledgeNow(i)
	}
}

// arrived takes a segment of a connection on which the peer's SYN has come
// (section 3.10.7.4).
func (e *Stack) arrived(i int, s *wire.Segment) {
	c := &e.conns[i]
	// First, the sequence number.
	if !e.acceptable(i, s) {
		e.unacceptable(i, s)
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
			e.reset(s.Tuple, s.Ack, 0, wire.RST)
			return
		}
		c.window = s.Window
		f := e.flightOf(i)
		if !f.is(passive) {
			f.owed = 1
		}
		e.opened(i, f)
		if c.state() == closed {
			return
		}
	}
	if e.acknowledged(i, s) {
		e.taken(i, s)
	}
}

// unacceptable answers a segment that does not begin where it may.
func (e *Stack) unacceptable(i int, s *wire.Segment) {
	c := &e.conns[i]
	again := s.Sequence == c.receiveNext-1 // the peer's SYN or FIN once more, or a keepalive
	switch {
	case s.Is(wire.RST):
	case s.Is(wire.SYN) && c.state() == synReceived && again: // our answer was lost
		f := e.flightOf(i)
		f.clear(timing)
		e.put(i, s.Tuple, f.unacknowledged, wire.SYN, 0)
	case s.Is(wire.SYN):
		e.challenge(i)
	case len(s.Data) > 0 || s.Is(wire.FIN) || again:
		if c.state() == timeWait && s.Is(wire.FIN) {
			e.await(i) // our ACK of it was lost: the time begins anew
		}
		e.acknowledgeNow(i)
	default:
		e.challenge(i) // or two that disagree could go on for ever
	}
}

// await begins the time after which connection i is over.
func (e *Stack) await(i int) {
	e.flightOf(i).retransmit = e.timers.At(e.now) + wheel.Ticks(waitTime)
}

// taken takes the text of a segment, seventh, and its FIN, eighth.
func (e *Stack) taken(i int, s *wire.Segment) {
	c := &e.conns[i]
	if wire.Before(c.receiveNext, s.Sequence) {
		if s.Length() > 0 {
			e.acknowledgeNow(i) // a duplicate ACK, at once (section 3.8.6.3)
		}
		return
	}
	if !c.receives() {
		return // the peer's FIN has come; what follows it means nothing
	}
	data := s.Data[min(c.receiveNext-s.Sequence, uint32(len(s.Data))):]
	room := e.window(i)
	beyond := uint32(len(data)) > room
	if beyond {
		data = data[:room]
	}
	if k := c.flight(); len(data) > 0 && k != 0 && e.flights.at(k).is(orphan) {
		// Nobody will read it, and the peer must know (RFC 1122 section 4.2.2.13).
		e.put(i, s.Tuple, e.acceptableNext(i), wire.RST, 0)
		e.forget(i)
		return
	}
	if len(data) > 0 {
		c.receiveNext += uint32(len(data))
		e.owe(i, uint32(len(data)))
		e.h.Data(i, data)
		if c.state() == closed {
			return
		}
	}
	switch {
	case beyond:
		e.acknowledgeNow(i) // of a probe, or of what the peer sent too much
	case s.Is(wire.FIN) && c.receiveNext == s.Sequence+uint32(len(s.Data)):
		c.receiveNext++
		e.finished(i)
	default:
		e.acknowledge(i)
	}
}

// finished takes the peer's FIN.
func (e *Stack) finished(i int) {
	c := &e.conns[i]
	switch c.state() {
	case established:
		c.become(closeWait)
	case finWait1: // section 3.6, figure 13: both have closed, and this side's FIN is under way
		c.become(closing)
	case finWait2:
		c.become(timeWait)
		e.await(i)
	}
	if k := c.flight(); k == 0 || !e.flights.at(k).is(orphan) {
		e.h.Ended(i)
	}
	if c.state() != closed {
		e.acknowledgeNow(i)
	}
}

// window is RCV.WND. A FIN in a closed window is taken, and goes beyond its edge.
func (e *Stack) window(i int) uint32 {
	if k := e.conns[i].flight(); k != 0 {
		if f := e.flights.at(k); f.is(held) {
			next := e.conns[i].receiveNext
			if !wire.Before(next, f.edge) {
				return 0
			}
			return f.edge - next
		}
	}
	return receiveWindow
}

// acceptable is the test of section 3.10.7.4, table 6. A closed window still lets the
// ACK of a probe through.
func (e *Stack) acceptable(i int, s *wire.Segment) bool {
	next, window := e.conns[i].receiveNext, max(e.window(i), 1)
	within := func(sequence uint32) bool { return sequence-next < window }
	length := s.Length()
	return within(s.Sequence) || length > 0 && within(s.Sequence+length-1)
}

// owe notes that bytes have come.
func (e *Stack) owe(i int, n uint32) { e.flightOf(i).owed += n }

// fullSegments are two of IPv6, and more than one of IPv4.
var fullSegments = 2 * uint32(wire.OwnMSS(false))

// acknowledge sees to the ACK of bytes that have come, unless they went with
// something else: at once for every second full segment (section 3.8.6.3).
func (e *Stack) acknowledge(i int) {
	k := e.conns[i].flight()
	if k == 0 {
		return
	}
	switch f := e.flights.at(k); {
	case f.owed == 0:
	case f.owed >= fullSegments:
		e.acknowledgeNow(i)
	case f.acknowledge == 0:
		f.acknowledge = e.timers.At(e.now) + wheel.Ticks(ackDelay)
	}
}

// acknowledged takes the ACK of a segment. It returns false if the rest of the segment
// must be ignored.
func (e *Stack) acknowledged(i int, s *wire.Segment) bool {
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
		if !e.advance(f, s.Ack) {
			return false
		}
	case c.window == 0:
		if !f.is(orphan) {
			f.tries = 0 // section 3.8.6.1: while it answers, it lives
		}
	case len(s.Data) == 0 && !s.Is(wire.FIN) && s.Window == window && f.outstanding() > 0:
		e.duplicate(f)
	case window == 0 && f.pending():
		// The window opened: what was beyond it is sent at once.
		f.tries, f.backoff, f.retransmit = 0, 0, 0
		f.at = f.unacknowledged
	}
	e.output(f)
	if f.is(blocked) && f.flags&(starved|orphan) == 0 && f.queued <= maxQueued/2 {
		f.clear(blocked)
		e.h.Writable(i)
	}
	return c.state() != closed
}

// advance moves SND.UNA on. It returns false if that ended the connection.
func (e *Stack) advance(f *flight, to uint32) bool {
	c := &e.conns[f.conn]
	n := to - f.unacknowledged
	if n > f.queued {
		f.clear(finishing) // it is acknowledged
	}
	e.drop(f, min(n, f.queued))
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
	if f.pending() {
		f.retransmit = e.timers.At(e.now) + 1 + wheel.Ticks(e.roundTrip.timeout(0))
		return true
	}
	i := int(f.conn)
	switch c.state() { // without anything pending, the FIN is acknowledged
	case finWait1:
		c.become(finWait2)
		if f.is(orphan) {
			e.await(i)
		}
	case closing:
		c.become(timeWait)
		e.await(i)
	case lastAck:
		e.end(i, nil)
		return false
	}
	return true
}

// duplicate takes an ACK of nothing new (RFC 5681 section 3.2).
func (e *Stack) duplicate(f *flight) {
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

// challenges bounds challenge ACKs (RFC 5961 section 7), nothing else. The bound is drawn
// anew each second: one that is known lets a stranger count what is left of it, and so find
// out about the connections of others (CVE-2016-5696).
type challenges struct {
	second int64
	left   int
}

// challengesPerSecond is the mean of the bounds.
const challengesPerSecond = 1000

// challenge sends an ACK that says what is expected, to who may not be the peer.
func (e *Stack) challenge(i int) {
	if second := e.now / 1e9; second != e.challenges.second {
		e.challenges = challenges{second, challengesPerSecond/2 + rand.IntN(challengesPerSecond)}
	}
	if e.challenges.left > 0 {
		e.challenges.left--
		e.acknowledgeNow(i)
	}
}
