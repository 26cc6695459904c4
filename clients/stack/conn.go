package stack

// state is that of a connection (RFC 9293 section 3.3.2).
type state uint32

const (
	closed state = iota
	synSent
	synReceived // the peer began, or both sides did (section 3.5, figure 7)
	established
	closeWait
	finWait1
	finWait2
	closing
	lastAck
	timeWait
)

// conn is all that is kept of a connection at rest.
type conn struct {
	receiveNext uint32 // RCV.NXT
	sendNext    uint32 // SND.NXT; without a flight, it is SND.UNA too
	window      uint16 // SND.WND; there is no scaling
	mss         uint16 // the most bytes in a segment that the peer takes
	bits        uint32 // the state (4 bits), and the number of its flight
}

const (
	stateBits   = 15
	flightShift = 4
	// MostConnections is what a stack can hold: bits have room for as many flights.
	MostConnections = 1<<(32-flightShift) - 1
)

func (c *conn) state() state      { return state(c.bits & stateBits) }
func (c *conn) flight() uint32    { return c.bits >> flightShift }
func (c *conn) become(s state)    { c.bits = c.bits&^stateBits | uint32(s) }
func (c *conn) board(k uint32)    { c.bits = c.bits&(1<<flightShift-1) | k<<flightShift }
func (c *conn) mostBytes() uint32 { return uint32(c.mss) }

// sends reports whether this side may still send data.
func (c *conn) sends() bool { return c.state() == established || c.state() == closeWait }

// receives reports whether the peer may still send data.
func (c *conn) receives() bool {
	return c.state() == established || c.state() == finWait1 || c.state() == finWait2
}

// forget makes connection i closed, and gives back what it had.
func (e *Stack) forget(i int) {
	c := &e.conns[i]
	if k := c.flight(); k != 0 {
		e.land(k)
	}
	e.places.Left(i)
	*c = conn{}
}
