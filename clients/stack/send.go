package stack

import (
	"syscall"
	"time"

	"connbench/clients/stack/arena"
	"connbench/clients/stack/wheel"
	"connbench/clients/stack/wire"

	"golang.org/x/sys/unix"
)

const (
	// receiveWindow is RCV.WND, unless the handler holds what comes.
	receiveWindow = 0xFFFF
	// synRetries and dataRetries are those of Linux (tcp(7): tcp_syn_retries,
	// tcp_retries2); R2 of RFC 9293 section 3.8.3 is at least 100 s for data.
	synRetries  = 6
	dataRetries = 15
	// passiveRetries and orphanRetries are those of Linux for the answer to a SYN, and for
	// a connection that nobody has any more (tcp_synack_retries, tcp_orphan_retries).
	passiveRetries = 5
	orphanRetries  = 8
	// waitTime is how long a connection is in TIME-WAIT, or without its owner in
	// FIN-WAIT-2: Linux's minute rather than two maximum segment lifetimes.
	waitTime = time.Minute
	// ackDelay is Linux's; section 3.8.6.3 allows up to half a second.
	ackDelay = 40 * time.Millisecond
)

// The retransmission time-out (RFC 6298): one second until something was
// measured, never less than Linux's least or more than a minute.
const (
	firstTimeout = time.Second
	leastTimeout = 200 * time.Millisecond
	mostTimeout  = time.Minute
	mostBackoff  = 9 // leastTimeout doubled so often is more than mostTimeout
)

// roundTrip is the smoothed round-trip time and its variation (RFC 6298 section
// 2), nanoseconds.
type roundTrip struct{ smoothed, variation int64 }

func (r *roundTrip) add(sample int64) {
	if r.smoothed == 0 {
		r.smoothed, r.variation = max(sample, 1), sample/2
		return
	}
	r.variation += (max(r.smoothed-sample, sample-r.smoothed) - r.variation) / 4
	r.smoothed += (sample - r.smoothed) / 8
}

// timeout is the retransmission time-out, doubled backoff times.
func (r *roundTrip) timeout(backoff uint8) time.Duration {
	t := firstTimeout
	if r.smoothed != 0 {
		t = max(time.Duration(r.smoothed+4*r.variation), leastTimeout)
	}
	return min(t<<backoff, mostTimeout)
}

// initialWindow is that of RFC 6928 section 2.
func initialWindow(mss uint32) uint32 { return min(10*mss, max(2*mss, 14600)) }

// Connect begins to connect connection i, which is closed and has its place (section
// 3.10.1, active OPEN).
func (e *Stack) Connect(i int) syscall.Errno {
	e.now = e.clock()
	t := e.places.Tuple(i)
	c := &e.conns[i]
	c.mss = wire.LeastMSS(t.From.Addr().Is4())
	c.sendNext = e.numbers.Initial(t, e.now)
	f := e.flightOf(i)
	c.sendNext++ // the SYN's
	c.become(synSent)
	f.at = c.sendNext
	f.timed, f.timedAt = c.sendNext, e.now
	f.set(timing)
	f.retransmit = e.timers.At(e.now) + wheel.Ticks(firstTimeout)
	e.rest(i)
	errno := e.put(i, t, f.unacknowledged, wire.SYN, 0)
	if errno != 0 {
		e.forget(i)
	}
	return errno
}

// accept begins connection i, which is closed and has its place, for a SYN of a peer
// (section 3.10.7.2).
func (e *Stack) accept(i int, s *wire.Segment) {
	c := &e.conns[i]
	c.receiveNext = s.Sequence + 1
	c.window = s.Window
	c.mss = segmentSize(s)
	c.sendNext = e.numbers.Initial(s.Tuple, e.now)
	f := e.flightOf(i)
	c.sendNext++ // the SYN's
	c.become(synReceived)
	f.at = c.sendNext
	f.timed, f.timedAt = c.sendNext, e.now
	f.set(timing | passive)
	f.retransmit = e.timers.At(e.now) + wheel.Ticks(firstTimeout)
	e.halfOpen.add(&e.flights, c.flight())
	e.rest(i)
	e.put(i, s.Tuple, f.unacknowledged, wire.SYN, 0)
}

// segmentSize is the most bytes in a segment to a peer whose SYN is s.
func segmentSize(s *wire.Segment) uint16 {
	ipv4 := s.Tuple.From.Addr().Is4()
	if s.MSS == 0 {
		return wire.LeastMSS(ipv4)
	}
	return min(max(s.MSS, leastSegment), wire.OwnMSS(ipv4))
}

// put sends a segment of connection i, whose n bytes of data are in their room.
func (e *Stack) put(i int, t wire.Tuple, sequence uint32, bits byte, n int) syscall.Errno {
	c := &e.conns[i]
	acknowledge, window := uint32(0), uint32(receiveWindow)
	if c.state() != synSent {
		bits |= wire.ACK
		acknowledge = c.receiveNext
		if k := c.flight(); k != 0 {
			f := e.flights.at(k)
			f.owed, f.acknowledge = 0, 0
			window = e.window(i)
		}
	}
	return e.emit(t, sequence, acknowledge, bits, uint16(window), n, c.mss)
}

// acknowledgeNow sends an ACK with nothing else.
func (e *Stack) acknowledgeNow(i int) { e.put(i, e.places.Tuple(i), e.acceptableNext(i), 0, 0) }

// acceptableNext is SND.NXT, or where the peer's window ends if it has closed before
// that: a peer does not look at what is beyond its window (section 3.10.7.4).
func (e *Stack) acceptableNext(i int) uint32 {
	c := &e.conns[i]
	if k := c.flight(); k != 0 && c.state() >= established {
		if end := e.flights.at(k).unacknowledged + uint32(c.window); wire.Before(end, c.sendNext) {
			return end
		}
	}
	return c.sendNext
}

// queue takes as many bytes as there is room for.
func (e *Stack) queue(f *flight, p []byte) (n int) {
	p = p[:min(len(p), int(maxQueued-f.queued))]
	for len(p) > 0 {
		end := (f.offset + f.queued) % arena.BlockBytes // in the last block
		if f.first == 0 || end == 0 {
			if e.blocks.Free() == 0 {
				return n
			}
			k := e.blocks.Take()
			if f.first == 0 {
				f.first, f.offset = k, 0
			} else {
				e.blocks.Chain(f.last, k)
			}
			f.last, end = k, 0
		}
		took := copy(e.blocks.Data(f.last)[end:], p)
		p = p[took:]
		f.queued += uint32(took)
		n += took
	}
	return n
}

// copyOut copies queued bytes from a distance to SND.UNA on.
func (e *Stack) copyOut(f *flight, to []byte, distance uint32) {
	k, at := f.first, f.offset+distance
	for ; at >= arena.BlockBytes; at -= arena.BlockBytes {
		k = e.blocks.After(k)
	}
	for len(to) > 0 {
		to = to[copy(to, e.blocks.Data(k)[at:]):]
		k, at = e.blocks.After(k), 0
	}
}

// drop forgets bytes that are acknowledged.
func (e *Stack) drop(f *flight, n uint32) {
	f.queued -= n
	if f.queued == 0 {
		e.blocks.Put(f.first, f.last)
		f.first, f.last, f.offset = 0, 0, 0
		return
	}
	for n += f.offset; n >= arena.BlockBytes; n -= arena.BlockBytes {
		k := f.first
		f.first = e.blocks.After(k)
		e.blocks.Put(k, k)
	}
	f.offset = n
}

// output sends what the windows of the peer and of congestion let through.
func (e *Stack) output(f *flight) {
	i := int(f.conn)
	c := &e.conns[i]
	for {
		if f.outstanding() > f.queued {
			break // the FIN is under way too
		}
		left := f.queued - f.outstanding()
		if left == 0 && !f.is(finishing) {
			break
		}
		usable := int64(min(uint32(c.window), f.congestion)) - int64(f.outstanding())
		n := uint32(max(min(usable, int64(left), wire.LargestData), 0))
		if n < left && n > uint32(c.mss) {
			n -= n % uint32(c.mss)
		}
		// Section 3.8.6.2.1: no small segments while there is more to send, unless
		// nothing else would go on. A FIN alone does not wait for a window.
		if left > 0 && (n == 0 || n < left && n < uint32(c.mss) && f.outstanding() > 0) {
			break
		}
		f.at += e.transmit(f, f.at, n)
		if wire.Before(c.sendNext, f.at) {
			if !f.is(timing) {
				f.timed, f.timedAt = f.at, e.now
				f.set(timing)
			}
			c.sendNext = f.at
		}
	}
	if f.pending() && f.retransmit == 0 {
		f.retransmit = e.timers.At(e.now) + 1 + wheel.Ticks(e.roundTrip.timeout(f.backoff))
	}
}

// transmit sends n queued bytes from a sequence number on. The last ones are pushed
// (section 3.9.1.2), and a FIN goes with them if there is to be one and the window has
// room. It returns by how much that moves SND.NXT.
func (e *Stack) transmit(f *flight, sequence, n uint32) (length uint32) {
	i := int(f.conn)
	t := e.places.Tuple(i)
	distance := sequence - f.unacknowledged
	e.copyOut(f, wire.Room(e.out[:], t.From.Addr().Is4())[:n], distance)
	bits, length := byte(0), n
	if distance+n == f.queued {
		if n > 0 {
			bits = wire.PSH
		}
		if f.is(finishing) && (n == 0 || f.queued < uint32(e.conns[i].window)) {
			bits |= wire.FIN
			length++
		}
	}
	e.put(i, t, sequence, bits, int(n))
	return length
}

// again sends the first segment again. RFC 6298 section 3: what was sent twice
// gives no round-trip time.
func (e *Stack) again(f *flight, n uint32) (length uint32) {
	f.clear(timing)
	return e.transmit(f, f.unacknowledged, n)
}

// timeout is the retransmission time-out of connection i (section 3.8.1), or the
// time for a probe.
func (e *Stack) timeout(i int, f *flight) {
	c := &e.conns[i]
	retries := uint8(dataRetries)
	switch {
	case c.state() == timeWait || c.state() == finWait2:
		e.end(i, nil)
		return
	case f.is(passive):
		retries = passiveRetries
	case c.state() < established:
		retries = synRetries
	case f.is(orphan):
		retries = orphanRetries
	}
	if f.tries >= retries {
		e.end(i, unix.ETIMEDOUT)
		return
	}
	f.tries++
	f.backoff = min(f.backoff+1, mostBackoff)
	first := min(f.queued, uint32(c.mss))
	switch {
	case c.state() < established:
		f.clear(timing)
		e.put(i, e.places.Tuple(i), f.unacknowledged, wire.SYN, 0)
		f.retransmit = e.timers.At(e.now) + wheel.Ticks(min(firstTimeout<<f.backoff, mostTimeout))
		return
	case c.window == 0 && f.queued > 0:
		// Section 3.8.6.1: a byte beyond the window asks for a new one.
		if length := e.again(f, 1); f.outstanding() == 0 {
			f.at += length
			if wire.Before(c.sendNext, f.at) {
				c.sendNext = f.at
			}
		}
	default:
		// RFC 5681 section 3.1: begin anew, with one segment.
		f.threshold = max(f.outstanding()/2, 2*uint32(c.mss))
		f.congestion = uint32(c.mss)
		f.clear(recovering)
		f.duplicates = 0
		first = min(first, uint32(c.window))
		f.at = f.unacknowledged + e.again(f, first)
		if wire.Before(c.sendNext, f.at) {
			c.sendNext = f.at
		}
	}
	f.retransmit = e.timers.At(e.now) + wheel.Ticks(e.roundTrip.timeout(f.backoff))
}

// expire does what is due.
func (e *Stack) expire() {
	e.timers.Advance(e.now)
	for {
		k, ok := e.timers.Due()
		if !ok {
			return
		}
		f := e.flights.at(k)
		i := int(f.conn)
		if f.acknowledge != 0 && e.timers.Passed(f.acknowledge) {
			e.acknowledgeNow(i)
		}
		if f.retransmit != 0 && e.timers.Passed(f.retransmit) {
			e.timeout(i, f)
		}
		e.rest(i)
	}
}
