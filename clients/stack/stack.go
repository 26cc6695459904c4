// Package stack is TCP and IP of our own, over a TUN device: for very many connections
// that are mostly idle. It follows RFC 9293; the sections are named where they are
// implemented. The swarm's packet engine begins connections with it, a server accepts
// them, and the kernel keeps nothing of either.
//
// A connection costs 16 bytes in a flat array, and what its [Places] keep of its
// four-tuple. What is only needed while something is under way (a SYN, bytes or a FIN
// that are not acknowledged, an ACK that is put off, a window that is held) is in a
// [flight], out of a pool. So a connection at rest has no timer, no buffer and no
// round-trip time. Nothing of it holds a Go pointer or lies on Go's heap.
//
// What was decided, and why:
//
//   - Segments that come out of order are dropped and asked for again by a
//     duplicate ACK: that is allowed (section 3.10.7.4), needs no memory that a
//     peer could fill, and a message of the suite is seldom more than one segment.
//     The price: large messages over a link that loses much are slow.
//   - No option but MSS: windows of up to 64 KiB fill a link that is not long, and
//     scaling, timestamps and SACK would cost state for each connection.
//   - A flight begins with the initial window of RFC 6928, and the round-trip time
//     is one for all (RFC 9040 allows to share it): what was learned of the path
//     would otherwise have to be kept for each connection at rest.
//   - ACKs are put off as Linux does, 40 ms or until there is something to send
//     them with, but not beyond two full segments (section 3.8.6.3).
//   - What comes is handed over at once and never stored. A handler that has enough
//     holds the connection: the window then closes, and does not shrink.
//   - Connections that peers have begun and not finished are bounded: a new one takes
//     the place of the oldest.
package stack

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/clients/stack/arena"
	"connbench/clients/stack/wheel"
	"connbench/clients/stack/wire"
)

// packetsPerDeliver bounds how long packets are handled before the owner may act
// again: a few milliseconds at most.
const packetsPerDeliver = 256

// Device is what packets come from and go to. Each has a link header.
type Device interface {
	// Wait waits for a packet, the timeout (negative: none), or what wakes the
	// stack.
	Wait(timeout time.Duration) (woken bool, err error)
	// Read reads one packet and returns its length, 0 if no packet waits.
	Read(p []byte) (n int)
	// Write sends one. What cannot be sent is lost, and is sent again if it mattered.
	Write(p []byte) syscall.Errno
	Close()
}

// Places know which connection has which four-tuple.
type Places interface {
	// Find returns the connection with a tuple that is not closed.
	Find(t wire.Tuple) (i int, ok bool)
	// Tuple returns that of connection i, which is not closed.
	Tuple(i int) wire.Tuple
	// Ours reports whether the stack answers for an address.
	Ours(a netip.Addr) bool
	// Take gives a place to a connection that a peer begins.
	Take(t wire.Tuple) (i int, answer Answer)
	// Left says that connection i is closed.
	Left(i int)
}

// Answer is what becomes of a SYN.
type Answer uint8

// The answers.
const (
	Refused Answer = iota // nobody listens there
	Full                  // there is no place; the peer may try again
	Taken
)

// Handler is called when something happens. Its methods may call all methods of the
// stack for any connection but Connect, Wait and Deliver.
type Handler interface {
	// Opened says that the connection is established: bytes may be sent.
	Opened(i int)
	// Data brings bytes in order. They are the handler's during the call only.
	Data(i int, p []byte)
	// Ended says that the peer has sent all that it will.
	Ended(i int)
	// Writable follows a Send that took fewer bytes than it was given.
	Writable(i int)
	// Closed says that the connection is gone: by an errno, or nil for an orderly end.
	// It does not follow Close or Abort.
	Closed(i int, why error)
}

// Config is what a stack is made with.
type Config struct {
	Device Device
	Places Places
	// Clock returns the time in nanoseconds. It never goes back.
	Clock func() int64
	// Capacity is the number of connections, at most [MostConnections].
	Capacity int
	// BufferBytes bounds what is kept for retransmission.
	BufferBytes int
	// HalfOpen bounds the connections that peers have begun and not finished; 0: nobody
	// listens.
	HalfOpen int
}

// Stack is one thread's.
type Stack struct {
	device Device
	places Places
	clock  func() int64
	now    int64 // when Wait, Deliver or Connect last looked
	h      Handler

	conns []conn

	flights      flights
	blocks       arena.Blocks
	timers       *wheel.Wheel
	halfOpen     line // connections that peers have begun and not finished
	mostHalfOpen int
	starved      line // connections for whose bytes there was no block

	roundTrip  roundTrip
	numbers    wire.ISN
	challenges challenges

	in  [wire.LinkHeader + wire.MaxPacket]byte
	out [wire.LinkHeader + wire.MaxPacket]byte
	got wire.Segment
}

// New returns a stack without connections.
func New(c Config) (*Stack, error) {
	if c.Capacity > MostConnections {
		return nil, fmt.Errorf("a stack holds at most %d connections, not %d", MostConnections, c.Capacity)
	}
	e := &Stack{device: c.Device, places: c.Places, clock: c.Clock, now: c.Clock(), mostHalfOpen: c.HalfOpen}
	var err error
	if e.numbers, err = wire.NewISN(); err != nil {
		return nil, err
	}
	if e.conns, err = arena.Reserve[conn](c.Capacity); err != nil {
		return nil, err
	}
	if e.flights, err = newFlights(c.Capacity); err != nil {
		arena.Release(e.conns)
		return nil, err
	}
	if e.blocks, err = arena.NewBlocks(c.BufferBytes); err != nil {
		arena.Release(e.conns)
		e.flights.release()
		return nil, err
	}
	if e.timers, err = wheel.New(c.Capacity, e.now); err != nil {
		arena.Release(e.conns)
		e.flights.release()
		e.blocks.Release()
		return nil, err
	}
	return e, nil
}

// StateBytes is the size of what the stack keeps for a connection at rest.
func StateBytes() int { return int(unsafe.Sizeof(conn{})) }

// Open reports whether connection i is not closed.
func (e *Stack) Open(i int) bool { return e.conns[i].state() != closed }

// Established reports whether connection i is, or has been and is not closed.
func (e *Stack) Established(i int) bool { return e.conns[i].state() >= established }

// Unacknowledged reports whether the peer of connection i has not acknowledged all that
// was sent.
func (e *Stack) Unacknowledged(i int) bool {
	k := e.conns[i].flight()
	return k != 0 && e.flights.at(k).queued > 0
}

// Send hands over bytes and returns how many were taken. If fewer were taken than
// given, Handler.Writable follows as soon as there is room.
func (e *Stack) Send(i int, p []byte) (n int, err error) {
	if !e.conns[i].sends() {
		return 0, unix.ENOTCONN
	}
	f := e.flightOf(i)
	n = e.queue(f, p)
	if n < len(p) {
		f.set(blocked)
		if e.blocks.Free() == 0 && !f.is(starved) {
			f.set(starved)
			e.starved.add(&e.flights, e.conns[i].flight())
		}
	}
	e.output(f)
	e.rest(i)
	return n, nil
}

// Hold has the peer of connection i send no more than it may already.
func (e *Stack) Hold(i int) {
	if !e.conns[i].receives() {
		return
	}
	if f := e.flightOf(i); !f.is(held) {
		f.set(held)
		f.edge = e.conns[i].receiveNext + receiveWindow
	}
}

// Resume is the end of Hold.
func (e *Stack) Resume(i int) {
	k := e.conns[i].flight()
	if k == 0 || !e.flights.at(k).is(held) {
		return
	}
	left := e.window(i)
	e.flights.at(k).clear(held)
	if left < receiveWindow/2 {
		e.acknowledgeNow(i)
	}
	e.rest(i)
}

// Shutdown ends this side's half of connection i behind what was sent (section
// 3.10.4).
func (e *Stack) Shutdown(i int) {
	c := &e.conns[i]
	switch c.state() {
	case established:
		c.become(finWait1)
	case closeWait:
		c.become(lastAck)
	default:
		return
	}
	f := e.flightOf(i)
	f.set(finishing)
	f.clear(blocked)
	e.output(f)
	e.rest(i)
}

// Close is Shutdown, and gives the connection up: what the peer still sends is answered
// by a reset.
func (e *Stack) Close(i int) {
	c := &e.conns[i]
	if c.state() < established {
		e.Abort(i)
		return
	}
	f := e.flightOf(i)
	f.set(orphan)
	f.clear(held | blocked)
	if c.sends() {
		e.Shutdown(i)
		return
	}
	if c.state() == finWait2 {
		e.await(i)
	}
	e.rest(i)
}

// Abort resets connection i (section 3.10.5). One that is closed is left alone.
func (e *Stack) Abort(i int) {
	switch e.conns[i].state() {
	case closed:
		return
	case synSent, timeWait:
	default:
		e.put(i, e.places.Tuple(i), e.acceptableNext(i), wire.RST, 0)
	}
	e.forget(i)
}

// Release resets all connections and gives everything back.
func (e *Stack) Release() {
	for i := range e.conns {
		e.Abort(i)
	}
	e.device.Close()
	arena.Release(e.conns)
	e.flights.release()
	e.blocks.Release()
	e.timers.Release()
}

// Wait blocks until there is something to deliver, the timeout passed (negative: none),
// or what wakes the device did.
func (e *Stack) Wait(timeout time.Duration) (woken bool, err error) {
	if next, running := e.timers.Next(); running {
		e.now = e.clock()
		if left := time.Duration(max(next-e.now, 0)); timeout < 0 || left < timeout {
			timeout = left
		}
	}
	if e.starved.count > 0 && e.blocks.Plenty() {
		timeout = 0
	}
	return e.device.Wait(timeout)
}

// Deliver hands what has happened to h. It does not block.
func (e *Stack) Deliver(h Handler) {
	e.now, e.h = e.clock(), h
	e.expire()
	for range packetsPerDeliver {
		n := e.device.Read(e.in[:])
		if n == 0 {
			break
		}
		e.packet(e.in[:n])
	}
	e.feed()
	e.h = nil
}

// feed lets starved connections go on where there are blocks again.
func (e *Stack) feed() {
	for e.starved.count > 0 && e.blocks.Plenty() {
		k := e.starved.oldest
		e.starved.remove(&e.flights, k)
		f := e.flights.at(k)
		i := int(f.conn)
		f.clear(starved)
		if f.is(blocked) {
			f.clear(blocked)
			e.h.Writable(i)
		}
		e.rest(i)
	}
}
