package packet

import "connbench/clients/stack/wire"

// state is that of a connection (RFC 9293 section 3.3.2). Those after a FIN are
// missing: Close resets.
type state uint32

const (
	closed state = iota
	synSent
	synReceived // both sides began (section 3.5, figure 7)
	established
)

// conn is all that is kept of a connection at rest.
type conn struct {
	receiveNext uint32 // RCV.NXT
	sendNext    uint32 // SND.NXT; without a flight, it is SND.UNA too
	window      uint16 // SND.WND; there is no scaling
	mss         uint16 // the most bytes in a segment that the peer takes
	// bits are the state (2 bits), whether its tuple is another than that of its
	// number (1), and the number of its flight.
	bits uint32
}

const (
	stateBits   = 3
	movedBit    = 4
	flightShift = 3
	// maxFlights is what bits have room for.
	maxFlights = 1<<(32-flightShift) - 1
)

func (c *conn) state() state      { return state(c.bits & stateBits) }
func (c *conn) flight() uint32    { return c.bits >> flightShift }
func (c *conn) become(s state)    { c.bits = c.bits&^stateBits | uint32(s) }
func (c *conn) moved() bool       { return c.bits&movedBit != 0 }
func (c *conn) board(k uint32)    { c.bits = c.bits&(1<<flightShift-1) | k<<flightShift }
func (c *conn) alive() bool       { return c.state() == established }
func (c *conn) mostBytes() uint32 { return uint32(c.mss) }

// moved holds the tuples of connections that are not where arithmetic looks for
// them: those that have had to leave a tuple on which connecting failed.
type moved struct {
	byTuple map[wire.Tuple]int32
	byConn  map[int32]wire.Tuple
}

// settleAt gives connection i, which is closed, its tuple. It returns false if another
// connection has it.
func (e *Engine) settleAt(i int, t wire.Tuple) bool {
	if _, taken := e.find(t); taken {
		return false
	}
	e.conns[i] = conn{}
	if j, ok := e.finder.Find(t.From, t.To); ok && j == uint64(i) {
		return true
	}
	if e.moved.byTuple == nil {
		e.moved = moved{map[wire.Tuple]int32{}, map[int32]wire.Tuple{}}
	}
	e.conns[i].bits = movedBit
	e.moved.byTuple[t] = int32(i)
	e.moved.byConn[int32(i)] = t
	return true
}

// find returns the connection that has a tuple.
func (e *Engine) find(t wire.Tuple) (i int, ok bool) {
	j, ok := e.finder.Find(t.From, t.To)
	if ok && j < uint64(len(e.conns)) {
		if c := &e.conns[j]; c.state() != closed && !c.moved() {
			return int(j), true
		}
	}
	if len(e.moved.byTuple) > 0 {
		i, ok := e.moved.byTuple[t]
		return int(i), ok
	}
	return 0, false
}

// tuple returns that of connection i.
func (e *Engine) tuple(i int) wire.Tuple {
	if e.conns[i].moved() {
		return e.moved.byConn[int32(i)]
	}
	t := e.share.Tuple(uint64(i))
	return wire.Tuple{From: t.From, To: t.To}
}

// forget makes connection i closed, and gives back what it had.
func (e *Engine) forget(i int) {
	c := &e.conns[i]
	if k := c.flight(); k != 0 {
		e.land(k)
	}
	if c.moved() {
		delete(e.moved.byTuple, e.moved.byConn[int32(i)])
		delete(e.moved.byConn, int32(i))
	}
	*c = conn{}
}
