package stack

import (
	"connbench/clients/stack/arena"
	"connbench/clients/stack/wire"
)

// flight is what is kept of a connection while something is under way.
type flight struct {
	conn        int32
	next        uint32 // among those free, or in a line the newer one
	previous    uint32 // in a line the older one
	retransmit  uint32 // the tick of the retransmission time-out, the next probe or the end of a wait; 0: none
	acknowledge uint32 // the tick of the delayed ACK; 0: none
	owed        uint32 // bytes received and not acknowledged
	edge        uint32 // RCV.NXT + RCV.WND while the flight is held

	unacknowledged uint32 // SND.UNA
	at             uint32 // what is sent next; before SND.NXT after a time-out
	queued         uint32 // bytes from SND.UNA on, sent or not
	first, last    uint32 // the blocks that hold them
	offset         uint32 // of SND.UNA in the first block

	congestion uint32 // cwnd, bytes (RFC 5681)
	threshold  uint32 // ssthresh, bytes
	recover    uint32 // SND.NXT when fast recovery began (RFC 6582)
	timed      uint32 // the sequence number whose ACK gives a round-trip time
	timedAt    int64
	flags      flightFlag
	duplicates uint8 // ACKs in a row that acknowledge nothing new
	tries      uint8 // time-outs in a row
	backoff    uint8 // the time-out is doubled so often
}

type flightFlag uint8

const (
	blocked    flightFlag = 1 << iota // a Send took less than it was given
	starved                           // and there was no block: it is in the line of those
	recovering                        // fast recovery
	timing                            // timed is valid
	passive                           // the peer began, and the connection is half open
	held                              // the receive window does not move on
	finishing                         // a FIN follows what is queued, or is not acknowledged
	orphan                            // the handler has closed it, and hears nothing more
)

func (f *flight) is(flag flightFlag) bool { return f.flags&flag != 0 }
func (f *flight) set(flag flightFlag)     { f.flags |= flag }
func (f *flight) clear(flag flightFlag)   { f.flags &^= flag }

// pending reports whether anything is to be sent or acknowledged.
func (f *flight) pending() bool { return f.queued > 0 || f.is(finishing) }

// outstanding is what was sent and is not acknowledged; a FIN counts.
func (f *flight) outstanding() uint32 { return f.at - f.unacknowledged }

// flights is the pool of flights, with room for one for each connection. Those given
// back last are used first, so that little of it becomes resident. Flight numbers start
// at 1; 0 means no flight.
type flights struct {
	all  []flight
	used uint32 // numbers below have been used
	free uint32 // the first of those given back
}

func newFlights(capacity int) (flights, error) {
	all, err := arena.Reserve[flight](capacity + 1)
	return flights{all: all, used: 1}, err
}

func (p *flights) release()            { arena.Release(p.all) }
func (p *flights) at(k uint32) *flight { return &p.all[k] }

func (p *flights) take() uint32 {
	k := p.free
	if k != 0 {
		p.free = p.all[k].next
	} else {
		k = p.used
		p.used++
	}
	p.all[k] = flight{}
	return k
}

func (p *flights) put(k uint32) {
	p.all[k].next = p.free
	p.free = k
}

// flightOf returns the flight of connection i, a new one if it has none.
func (e *Stack) flightOf(i int) *flight {
	c := &e.conns[i]
	k := c.flight()
	if k != 0 {
		return e.flights.at(k)
	}
	k = e.flights.take()
	c.board(k)
	f := e.flights.at(k)
	f.conn = int32(i)
	f.unacknowledged, f.at = c.sendNext, c.sendNext
	f.congestion = initialWindow(c.mostBytes())
	f.threshold = maxQueued
	return f
}

// rest ends the flight of connection i if nothing is under way any more, and sets
// its timer otherwise.
func (e *Stack) rest(i int) {
	c := &e.conns[i]
	k := c.flight()
	if k == 0 {
		return
	}
	f := e.flights.at(k)
	if f.retransmit == 0 && f.acknowledge == 0 && f.flags&(blocked|held) == 0 {
		e.land(k)
		c.board(0)
		return
	}
	e.timers.Arm(k, e.flights.at(k).earliest())
}

// land gives a flight back, with its blocks.
func (e *Stack) land(k uint32) {
	f := e.flights.at(k)
	if f.is(passive) {
		e.halfOpen.remove(&e.flights, k)
	}
	if f.is(starved) {
		e.starved.remove(&e.flights, k)
	}
	e.timers.Cancel(k)
	e.blocks.Put(f.first, f.last)
	e.flights.put(k)
}

// maxQueued is the most that one connection keeps: what a window without scaling lets
// it send.
const maxQueued = 64 << 10

// earliest is the tick of the flight's next deadline, 0: none.
func (f *flight) earliest() uint32 {
	if f.acknowledge == 0 || f.retransmit != 0 && wire.Before(f.retransmit, f.acknowledge) {
		return f.retransmit
	}
	return f.acknowledge
}
