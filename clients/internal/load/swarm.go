// Package load is one worker of the swarm: it opens connections over an engine,
// holds them, sends messages over them and closes them. Each command is a task,
// a shape of load; what they share, the way of a connection from the connect to
// its end, is in this file.
package load

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"syscall"
	"unsafe"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/ws"
)

// phase is where a connection is on its way.
type phase uint8

const (
	free        phase = iota // there is none
	connecting               // SYN sent
	handshaking              // request sent
	open                     // answer verified
	closing                  // close frame sent
)

// conn is all that is kept of a connection, besides its number in one list and
// what the engine keeps. A million of these are laid out in a row: nothing here
// may point to anything.
type conn struct {
	since    int64  // when its connect, its census or its close began
	place    uint32 // its index in the list of those being opened, or in a load
	sent     uint32 // messages of this load that the engine has taken whole
	received uint32 // echoes of this load that have come whole
	late     uint16 // echoes of earlier loads that may still come
	phase    phase
	mid      mid
}

// mid says that a connection is in the middle of something: then there is more to
// know of it than has a place in conn.
type mid uint8

const (
	midFrame   mid = 1 << iota // of what comes: see Swarm.reading
	midMessage                 // of what goes: see Swarm.out
)

// reading is where the frames of a connection have got to.
type reading struct {
	reader ws.Reader
	in     uint32 // bytes of payload of echo received that have come
	wrong  bool   // some of them were not the right ones
}

// Config is what a worker is made with.
type Config struct {
	Engine engine.Engine
	// Share is the worker's part of the four-tuples, Targets those of the plan.
	Share   addresses.Share
	Targets []netip.AddrPort
	// Capacity is the largest number of connections, that of the engine.
	Capacity int
	Seed     uint64
}

// Swarm is a worker's connections and what becomes of them.
type Swarm struct {
	engine    engine.Engine
	share     addresses.Share
	handshake *ws.Handshake
	seed      uint64

	conns []conn
	// list holds connection numbers: those free, or those in a load.
	list []int32
	open int

	// moved are the tuples of connections that had to leave their own one, the
	// tuple of the same number, to somebody else; spares are those to move to.
	moved  map[int]uint64
	spares *addresses.Spares

	// reading and out are of connections in the middle of a frame that comes, and of
	// a request or message that goes: out is the bytes that the engine has taken.
	reading map[int]reading
	out     map[int]uint32
	// partial holds the start of a handshake's answer, or of a ping or pong, that came
	// in pieces; unsent holds control frames that the engine did not take yet. Both
	// are rare, and so are not part of conn.
	partial map[int][]byte
	unsent  map[int][]byte

	messages messages
	loads    uint64 // so far, so that no message comes twice

	task    task
	tally   tally
	stopped bool // by control.OpStop
}

// New returns a worker without connections.
func New(c Config) *Swarm {
	return &Swarm{
		engine:    c.Engine,
		share:     c.Share,
		handshake: ws.NewHandshake(c.Seed, c.Targets),
		seed:      c.Seed,
		conns:     make([]conn, c.Capacity),
		list:      make([]int32, c.Capacity),
		moved:     map[int]uint64{},
		spares:    c.Share.Spares(uint64(c.Capacity)),
		reading:   map[int]reading{},
		out:       map[int]uint32{},
		partial:   map[int][]byte{},
		unsent:    map[int][]byte{},
		task:      quiet{},
		tally:     newTally(),
	}
}

// StateBytes is the size of what is kept for one connection.
func (s *Swarm) StateBytes() int {
	return int(unsafe.Sizeof(conn{})+unsafe.Sizeof(s.list[0])) + s.engine.StateBytes()
}

// Release resets all connections.
func (s *Swarm) Release() { s.engine.Release() }

// Open is the number of connections that are open.
func (s *Swarm) Open() int { return s.open }

// tuple is the number, in the share, of the tuple of connection i.
func (s *Swarm) tuple(i int) uint64 {
	if len(s.moved) > 0 {
		if t, ok := s.moved[i]; ok {
			return t
		}
	}
	return uint64(i)
}

// move gives connection i a tuple that no other has. False: there is none left.
func (s *Swarm) move(i int) bool {
	j, ok := s.spares.Next()
	if ok {
		s.moved[i] = j
	}
	return ok
}

// key is the handshake key that connection i uses.
func (s *Swarm) key(i int) int { return int(ws.Mix(s.share.Number(uint64(i))) % ws.Keys) }

// Opened implements [engine.Handler].
func (s *Swarm) Opened(i int) {
	s.conns[i].phase = handshaking
	s.request(i)
}

// request sends the handshake's request from where it has got to: in practice,
// all of it at once into an empty send buffer.
func (s *Swarm) request(i int) {
	before := s.taken(i)
	text := s.handshake.Request(s.share.Tuple(s.tuple(i)).Target, s.key(i))[before:]
	n, dead := s.engine.Send(i, text)
	if dead != 0 {
		s.refuse(i, control.PhaseHandshake, control.ErrnoError(dead))
		return
	}
	if n == len(text) {
		s.take(i, 0)
	} else {
		s.take(i, before+uint32(n))
	}
}

// taken is the number of bytes that the engine has taken of what connection i is in
// the middle of sending; 0: it is in the middle of nothing.
func (s *Swarm) taken(i int) uint32 {
	if s.conns[i].mid&midMessage == 0 {
		return 0
	}
	return s.out[i]
}

// take notes it.
func (s *Swarm) take(i int, n uint32) {
	switch c := &s.conns[i]; {
	case n > 0:
		c.mid |= midMessage
		s.out[i] = n
	case c.mid&midMessage != 0:
		c.mid &^= midMessage
		delete(s.out, i)
	}
}

// Writable implements [engine.Handler].
func (s *Swarm) Writable(i int) {
	switch mid := s.taken(i) > 0; {
	case mid && s.conns[i].phase == handshaking:
		s.request(i)
	case mid:
		s.task.writable(i) // a message first: nothing may come into the middle of it
	default:
		s.flush(i)
	}
}

// Data implements [engine.Handler].
func (s *Swarm) Data(i int, p []byte) {
	if s.conns[i].phase == handshaking {
		p = s.answer(i, p)
	}
	s.frames(i, p)
}

// answer checks the answer to the handshake and returns what follows it.
func (s *Swarm) answer(i int, p []byte) (frames []byte) {
	before, pieces := s.partial[i]
	if pieces {
		p = append(before, p...)
	}
	n, err := s.handshake.Check(s.key(i), p)
	if n > 0 && s.taken(i) > 0 {
		err = ws.ErrBadAnswer // to a request that it has not had to its end
	}
	switch {
	case err != nil:
		s.refuse(i, control.PhaseHandshake, err)
		return nil
	case n == 0:
		if !pieces {
			p = bytes.Clone(p) // it is the engine's
		}
		s.partial[i] = p
		return nil
	}
	if pieces {
		delete(s.partial, i)
	}
	s.conns[i].phase = open
	s.open++
	s.tally.Opened++
	s.task.opened(i)
	return p[n:]
}

// frames reads frames. The connection may be gone after any of them.
func (s *Swarm) frames(i int, p []byte) {
	c := &s.conns[i]
	var at reading
	if c.mid&midFrame != 0 {
		at = s.reading[i]
	}
	for len(p) > 0 && (c.phase == open || c.phase == closing) {
		piece, n, found, err := at.reader.Next(p)
		if err != nil {
			s.lose(i, control.PhaseOpen, err)
			return
		}
		p = p[n:]
		if !found {
			break
		}
		switch piece.Opcode {
		case ws.Ping:
			s.ping(i, piece)
		case ws.Pong:
			s.pong(i, piece)
		case ws.Close:
			s.farewell(i)
		case ws.Text, ws.Binary:
			s.message(i, piece, &at)
		}
	}
	switch {
	case c.phase != open && c.phase != closing:
	case !at.reader.AtRest():
		c.mid |= midFrame
		s.reading[i] = at
	case c.mid&midFrame != 0:
		c.mid &^= midFrame
		delete(s.reading, i)
	}
}

// message takes a piece of a message: an echo, what else.
func (s *Swarm) message(i int, piece ws.Piece, at *reading) {
	c := &s.conns[i]
	switch {
	case c.phase == closing:
		return
	case c.late > 0:
		if piece.Last {
			c.late--
		}
		return
	case c.received == c.sent || s.messages.opcode == ws.Ping:
		s.tally.Corrupt++
		s.lose(i, control.PhaseEcho, control.Mismatch) // an echo of nothing
		return
	}
	if piece.Opcode != ws.Binary || !s.messages.matches(piece.Payload, s.messages.key(s.share.Number(uint64(i)), c.received), int(at.in)) {
		at.wrong = true
	}
	at.in += uint32(len(piece.Payload))
	if !piece.Last {
		return
	}
	right := !at.wrong && int(at.in) == s.messages.size
	if right {
		s.tally.Delivered++
	} else {
		s.tally.Corrupt++
		s.tally.fail(control.PhaseEcho, control.Mismatch)
	}
	sequence := c.received
	c.received++
	at.in, at.wrong = 0, false
	s.task.answered(i, sequence, right)
}

// mostUnsent is the number of bytes of control frames that may wait at a
// connection before pings are passed over.
const mostUnsent = 1024

// ping answers a ping when all of it has come.
func (s *Swarm) ping(i int, piece ws.Piece) {
	text, whole := s.whole(i, piece)
	// A server that pings and does not read gets no more answers; RFC 6455 section
	// 5.5.3 lets us leave some out.
	if whole && s.conns[i].phase == open && len(s.unsent[i]) < mostUnsent {
		s.control(i, ws.Pong, text)
	}
}

// pong takes the answer to a ping of this load. One that answers none of those
// outstanding is nobody's, and one may stand for all pings before it (RFC 6455
// section 5.5.3): these then count as not answered.
func (s *Swarm) pong(i int, piece ws.Piece) {
	text, whole := s.whole(i, piece)
	c := &s.conns[i]
	if !whole || c.phase != open || s.messages.opcode != ws.Ping || len(text) != s.messages.size {
		return
	}
	for q := c.received; q < c.sent; q++ {
		if !s.messages.matches(text, s.messages.key(s.share.Number(uint64(i)), q), 0) {
			continue
		}
		for ; c.received < q; c.received++ {
			s.tally.fail(control.PhasePing, control.Timeout)
			s.task.answered(i, c.received, false)
		}
		c.received++
		s.tally.Delivered++
		s.task.answered(i, q, true)
		return
	}
}

// whole returns the payload of a control frame when all of it has come.
func (s *Swarm) whole(i int, piece ws.Piece) (text []byte, whole bool) {
	text = piece.Payload
	if before, pieces := s.partial[i]; pieces || !piece.Last {
		text = append(before, text...)
		s.partial[i] = text
		if !piece.Last {
			return nil, false
		}
		delete(s.partial, i)
	}
	return text, true
}

// farewell takes a close frame: the answer to ours, or the end of a connection
// that was not to end.
func (s *Swarm) farewell(i int) {
	if s.conns[i].phase == closing {
		s.forget(i)
		s.task.closed(i)
		return
	}
	s.lose(i, control.PhaseOpen, control.Closed)
}

// control sends a control frame, after what is being sent.
func (s *Swarm) control(i int, opcode ws.Opcode, payload []byte) {
	mask := uint32(ws.Mix(s.seed ^ uint64(clock.Now())))
	s.unsent[i] = ws.AppendControl(s.unsent[i], opcode, payload, mask)
	if s.taken(i) == 0 {
		s.flush(i)
	}
}

// flush sends control frames that are waiting, then lets the task go on.
func (s *Swarm) flush(i int) {
	if waiting := s.unsent[i]; len(waiting) > 0 {
		n, dead := s.engine.Send(i, waiting)
		if dead != 0 {
			s.lose(i, control.PhaseSend, control.ErrnoError(dead))
			return
		}
		if n < len(waiting) {
			s.unsent[i] = waiting[n:]
			return
		}
		delete(s.unsent, i)
	}
	s.task.writable(i)
}

// push hands message c.sent of connection i to the engine, from where it has got
// to. False: not all of it was taken; task.writable or task.lost follows.
func (s *Swarm) push(i int) bool {
	if len(s.unsent) > 0 && s.unsent[i] != nil && s.taken(i) == 0 {
		return false
	}
	c, before := &s.conns[i], s.taken(i)
	frame := s.messages.encode(s.messages.key(s.share.Number(uint64(i)), c.sent))[before:]
	n, dead := s.engine.Send(i, frame)
	if dead != 0 {
		s.lose(i, control.PhaseSend, control.ErrnoError(dead))
		return false
	}
	if n < len(frame) {
		s.take(i, before+uint32(n))
		return false
	}
	s.take(i, 0)
	c.sent++
	s.tally.Sent++
	if len(s.unsent) > 0 && s.unsent[i] != nil {
		s.flush(i) // what had to wait for the message's end
	}
	return true
}

// Closed implements [engine.Handler].
func (s *Swarm) Closed(i int, why syscall.Errno) {
	switch s.conns[i].phase {
	case connecting:
		s.refuse(i, control.PhaseConnect, control.ErrnoError(why))
	case handshaking:
		s.refuse(i, control.PhaseHandshake, control.ErrnoError(why))
	case open, closing:
		s.lose(i, control.PhaseOpen, control.ErrnoError(why))
	}
}

// refuse ends a connection that did not come to be open.
func (s *Swarm) refuse(i int, phase control.Phase, why error) {
	s.tally.fail(phase, why)
	s.forget(i)
	s.task.refused(i)
}

// lose ends an open connection that was not to end, or one being closed.
func (s *Swarm) lose(i int, phase control.Phase, why error) {
	if s.conns[i].phase == closing {
		// It is closed all the same.
		s.tally.fail(control.PhaseClose, why)
		s.forget(i)
		s.task.closed(i)
		return
	}
	s.tally.fail(phase, why)
	s.forget(i)
	s.open--
	s.tally.Lost++
	s.task.lost(i)
}

// forget resets a connection. Its counts stay for the task to read, until it is
// opened anew.
func (s *Swarm) forget(i int) {
	s.engine.Close(i)
	c := &s.conns[i]
	if c.mid != 0 {
		c.mid = 0
		delete(s.reading, i)
		delete(s.out, i)
	}
	c.phase = free
	delete(s.partial, i)
	delete(s.unsent, i)
}

// members lists the connections that are open, and says in each its place.
func (s *Swarm) members() []int32 {
	members := s.list[:0]
	for i := range s.conns {
		if c := &s.conns[i]; c.phase == open {
			c.place = uint32(len(members))
			members = append(members, int32(i))
		}
	}
	return members
}

// beginLoad prepares messages of a size, and what they are sent as.
func (s *Swarm) beginLoad(opcode ws.Opcode, size int) {
	s.loads++
	s.messages = newMessages(s.seed, s.loads, opcode, size)
}

// endLoad ends the counting of messages. What is outstanding may still come, and
// is then passed over; failed says that it should have come.
func (s *Swarm) endLoad(failed bool) {
	for i := range s.conns {
		c := &s.conns[i]
		if c.phase != open {
			continue
		}
		outstanding := c.sent - c.received
		if failed && outstanding > 0 {
			s.tally.failures[control.FailureKind{Phase: messagePhases[s.messages.opcode], Error: control.Timeout}] += int64(outstanding)
		}
		if s.messages.opcode == ws.Ping {
			outstanding = 0 // a pong that comes late is nobody's
		}
		if c.mid&midMessage != 0 || uint32(c.late)+outstanding > math.MaxUint16 {
			// In the middle of a message that will not be continued, or too far
			// behind to keep count.
			s.lose(i, control.PhaseSend, control.Timeout)
			continue
		}
		c.late += uint16(outstanding)
		c.sent, c.received = 0, 0
		if c.mid&midFrame != 0 {
			s.reading[i] = reading{reader: s.reading[i].reader}
		}
	}
}

var messagePhases = map[ws.Opcode]control.Phase{ws.Binary: control.PhaseEcho, ws.Ping: control.PhasePing}

// closePayload is the payload of the close frames sent.
var closePayload = binary.BigEndian.AppendUint16(nil, ws.CloseNormal)
