// Package connections is what a worker knows of its connections, and takes each of
// them through its life: connect, handshake, messages, end. What is to happen, and
// when, is a load's business.
package connections

import (
	"cmp"
	"net/netip"
	"time"
	"unsafe"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/text"
)

// Phase is how far a connection has come.
type Phase uint8

// The phases.
const (
	Free       Phase = iota // there is no connection
	Connecting              // the engine connects
	Opening                 // the protocol opens it
	Open                    // messages may be sent
	Closing                 // the protocol takes leave
)

// Conn is all that is kept of a connection, apart from its number in one list and
// what engine and protocol keep. A million of these lie in one array: nothing here
// may point to anything.
type Conn struct {
	// Since is when its connect, its question in a census, or its close began, in
	// nanoseconds of [clock.Now]. It belongs to the load.
	Since int64
	// Index is its index in a list of the load: that of Members, for one.
	Index uint32
	// Sent counts the messages of this load that the engine has taken whole, and
	// Received those whose answers have come whole.
	Sent, Received uint32
	late           uint16 // answers to earlier loads that may still come, as far as it counts
	// Phase is read by loads, and changed by the table alone.
	Phase Phase
	// Slow says that the connection misbehaves on purpose: nothing of it counts. See
	// [Table.Slow].
	Slow bool
}

// Events are what the table reports to a load. The load may call any method of the
// table from them except Connect.
type Events interface {
	// Opened says that the handshake was verified.
	Opened(i int)
	// Refused says that the connect or the handshake failed.
	Refused(i int)
	// Lost says that an open connection ended.
	Lost(i int)
	// Closed says that a connection that was closing is gone.
	Closed(i int)
	// Writable says that a message may be sent, or gone on with.
	Writable(i int)
	// Answered says that the right answer to message number sequence of connection i,
	// counted from 0, has come whole, at now in nanoseconds of [clock.Now].
	Answered(i int, sequence uint32, now int64)
	// Missed says that a message will not be answered: its answer was corrupt, or a
	// later message was answered first.
	Missed(i int, sequence uint32, corrupt bool)
}

// NoEvents ignores all events. With it connections are kept, pings answered and
// losses counted. Loads embed it for the events that do not concern them.
type NoEvents struct{}

// The methods of [Events].
func (NoEvents) Opened(int)                  {}
func (NoEvents) Refused(int)                 {}
func (NoEvents) Lost(int)                    {}
func (NoEvents) Closed(int)                  {}
func (NoEvents) Writable(int)                {}
func (NoEvents) Answered(int, uint32, int64) {}
func (NoEvents) Missed(int, uint32, bool)    {}

// Config is what a table is made with.
type Config struct {
	// Engine moves the bytes, security layer included.
	Engine   engine.Engine
	Protocol protocol.Definition
	// Share is the worker's part of the four-tuples, Targets are their targets.
	Share   addresses.Share
	Targets []netip.AddrPort
	// Capacity is the largest number of connections, that of the engine.
	Capacity int
	Seed     uint64
	// Opening and Label are as in [protocol.Config]; without a Label, connections have their
	// numbers among those of this host.
	Opening control.Opening
	Label   func(number uint64) uint64
	// Pushes says that the peer may send messages of its own accord.
	Pushes bool
	// Compression, Text and Hear are as in [control.Config].
	Compression string
	Text        bool
	Hear        string
}

// Table is the connections of a worker.
type Table struct {
	engine   engine.Engine
	slowly   *slowly // the engine
	protocol protocol.Protocol
	share    addresses.Share
	seed     uint64
	pushes   bool
	label    func(number uint64) uint64

	conns []Conn
	list  []int32 // see List
	open  int

	// moved are the tuples of connections that had to leave the tuple of their number
	// to somebody else; spares are those to move to.
	moved  map[int]uint64
	spares *addresses.Spares

	// Turn is where a load that takes the connections in turn goes on after the one before.
	Turn uint64

	messages messages
	slow     []int32 // see Slow
	// lastBroadcast is the run of the last broadcast that has begun.
	lastBroadcast uint32
	texts         *text.Texts // nil: messages are random bytes
	// incoming is of connections in the middle of an answer.
	incoming map[int]incoming

	events Events
	idle   bool    // no load gets the events
	lost   []int32 // see LostBetween
	// Tally counts what happens.
	Tally Tally
}

// New returns a table without connections.
func New(c Config) *Table {
	slowly := &slowly{Engine: c.Engine}
	t := &Table{
		engine:   slowly,
		slowly:   slowly,
		share:    c.Share,
		seed:     c.Seed,
		pushes:   c.Pushes,
		label:    c.Label,
		conns:    make([]Conn, c.Capacity),
		list:     make([]int32, c.Capacity),
		moved:    map[int]uint64{},
		spares:   c.Share.Spares(uint64(c.Capacity)),
		incoming: map[int]incoming{},
		events:   NoEvents{},
		idle:     true,
		Tally:    newTally(),
	}
	if c.Text || c.Compression != "" {
		t.texts = text.New(c.Seed)
	}
	t.protocol = c.Protocol.New(protocol.Config{
		Engine:  slowly,
		Handler: protocolHandler{t},
		Targets: c.Targets,
		Seed:    c.Seed,
		Number:  t.number,
		Opening: c.Opening,

		Compression: c.Compression,
		Texts:       t.texts,
		Hear:        c.Hear,

		Label:  t.labelOf,
		Target: func(i int) int { return t.Tuple(i).Target },
	})
	return t
}

// StateBytes returns the size of what is kept for one connection.
func (t *Table) StateBytes() int {
	return int(unsafe.Sizeof(Conn{})+unsafe.Sizeof(t.list[0])) + t.engine.StateBytes() + t.protocol.StateBytes()
}

// Protocol returns what opens the connections and frames their messages.
func (t *Table) Protocol() protocol.Protocol { return t.protocol }

// Release resets all connections.
func (t *Table) Release() { t.engine.Release() }

// Capacity returns the largest number of connections.
func (t *Table) Capacity() int { return len(t.conns) }

// Open returns the number of connections that are open.
func (t *Table) Open() int { return t.open }

// At returns connection i.
func (t *Table) At(i int) *Conn { return &t.conns[i] }

// List returns room for the number of every connection. It is lent to the load.
func (t *Table) List() []int32 { return t.list }

// Members lists the connections that are open, in List, and sets the Index of each.
func (t *Table) Members() []int32 {
	members := t.list[:0]
	for i := range t.conns {
		if c := &t.conns[i]; c.Phase == Open {
			c.Index = uint32(len(members))
			members = append(members, int32(i))
		}
	}
	return members
}

// Tell reports events to a load from now on; nil ends that.
func (t *Table) Tell(load Events) {
	t.events, t.idle = load, load == nil
	if t.idle {
		t.events, t.lost = NoEvents{}, nil
	}
}

// LostBetween lists the connections that have ended since the load before.
func (t *Table) LostBetween() []int32 { return t.lost }

// Wait waits as [engine.Engine] does.
func (t *Table) Wait(timeout time.Duration) (woken bool, err error) { return t.engine.Wait(timeout) }

// Deliver handles what Wait found.
func (t *Table) Deliver() { t.engine.Deliver(engineHandler{t}) }

// number is that of connection i among those of all workers.
func (t *Table) number(i int) uint64 { return t.share.Number(uint64(i)) }

// labelOf is the number of connection i that its peer may see.
func (t *Table) labelOf(i int) uint64 {
	if t.label == nil {
		return t.number(i)
	}
	return t.label(t.number(i))
}

// Tuple returns the four-tuple of connection i, which has one.
func (t *Table) Tuple(i int) addresses.Tuple { return t.share.Tuple(t.tupleNumber(i)) }

func (t *Table) tupleNumber(i int) uint64 {
	if len(t.moved) > 0 {
		if j, ok := t.moved[i]; ok {
			return j
		}
	}
	return uint64(i)
}

// HasTuple says whether there is a four-tuple for connection i.
func (t *Table) HasTuple(i int) bool { return t.tupleNumber(i) < t.share.Len() }

// Move gives connection i a four-tuple that no other connection has. It returns false
// if none is left.
func (t *Table) Move(i int) bool {
	j, ok := t.spares.Next()
	if ok {
		t.moved[i] = j
	}
	return ok
}

// Connect begins to open connection i, which is free and has a tuple. It returns a
// failure that shows at once; later ones are reported as events.
func (t *Table) Connect(i int, now int64) engine.Failure {
	tuple := t.Tuple(i)
	failure := t.engine.Open(i, tuple.From, tuple.To)
	if failure.Err == nil {
		t.conns[i] = Conn{Phase: Connecting, Since: now}
	}
	return failure
}

// GiveUp ends connection i, which is not open yet, because it took too long.
func (t *Table) GiveUp(i int) { t.fail(i, t.engine.Overdue(i)) }

// Close takes leave of the peer of connection i, which is open.
func (t *Table) Close(i int, now int64) {
	c := &t.conns[i]
	c.Phase, c.Since = Closing, now
	t.open--
	t.protocol.Finish(i)
}

// Drop ends connection i, which is open, without a closing handshake. The load gets no event.
func (t *Table) Drop(i int) {
	t.Reset(i)
	t.open--
}

// Reset ends connection i, which is not open, without a closing handshake. The load
// gets no event.
func (t *Table) Reset(i int) {
	t.engine.Close(i)
	t.protocol.Forget(i)
	t.conns[i].Phase = Free
	if len(t.incoming) > 0 {
		delete(t.incoming, i)
	}
}

// fail ends connection i because of a failure. Its counts stay for the load to read,
// until it is opened anew.
func (t *Table) fail(i int, why engine.Failure) {
	switch t.conns[i].Phase {
	case Connecting:
		t.refuse(i, cmp.Or(why.Phase, control.PhaseConnect), why.Name())
	case Opening:
		t.refuse(i, cmp.Or(why.Phase, control.PhaseHandshake), why.Name())
	case Open:
		t.lose(i, cmp.Or(why.Phase, control.PhaseOpen), why.Name())
	case Closing: // a close that fails still ends the connection
		t.Tally.Fail(control.PhaseClose, why.Name())
		t.Reset(i)
		t.events.Closed(i)
	}
}

// refuse ends a connection that did not come to be open.
func (t *Table) refuse(i int, phase control.Phase, why control.Error) {
	t.Tally.Fail(phase, why)
	t.Reset(i)
	t.events.Refused(i)
}

// lose ends an open connection that was not to end.
func (t *Table) lose(i int, phase control.Phase, why control.Error) {
	t.Reset(i)
	t.open--
	if t.conns[i].Slow {
		t.Tally.Count(t.slowly.lost(i), 1)
	} else {
		t.Tally.Fail(phase, why)
		t.Tally.Lost++
	}
	if t.idle {
		t.lost = append(t.lost, int32(i))
	}
	t.events.Lost(i)
}

// engineHandler implements [engine.Handler].
type engineHandler struct{ *Table }

func (t engineHandler) Opened(i int) {
	t.conns[i].Phase = Opening
	t.protocol.Open(i)
}

func (t engineHandler) Writable(i int) {
	if t.conns[i].Phase == Opening {
		t.protocol.Open(i)
		return
	}
	t.protocol.Writable(i)
}

func (t engineHandler) Data(i int, p []byte) {
	t.Tally.ReceivedBytes += int64(len(p))
	if t.conns[i].Phase == Opening {
		t.protocol.Answer(i, p)
		return
	}
	t.protocol.Data(i, p)
}

func (t engineHandler) Closed(i int, why engine.Failure) { t.fail(i, why) }

// protocolHandler implements [protocol.Handler].
type protocolHandler struct{ *Table }

func (t protocolHandler) Opened(i int) (alive bool) {
	c := &t.conns[i]
	c.Phase = Open
	t.open++
	t.Tally.Opened++
	t.events.Opened(i)
	return c.Phase != Free
}

func (t protocolHandler) Received(i int, p protocol.Piece) (alive bool) {
	c := &t.conns[i]
	switch {
	case c.Phase != Open:
	case p.Kind == protocol.Ping:
		t.pong(i, p.Payload)
	default:
		t.answer(i, p)
	}
	return c.Phase != Free
}

func (t protocolHandler) Writable(i int) {
	if t.conns[i].Phase == Open {
		t.events.Writable(i)
	}
}

func (t protocolHandler) Finished(i int) {
	t.Reset(i)
	t.events.Closed(i)
}

func (t protocolHandler) Count(name string) { t.Tally.Count(name, 1) }

func (t protocolHandler) Failed(i int, why engine.Failure) { t.fail(i, why) }
