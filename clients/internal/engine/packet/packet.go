// Package packet is the engine that speaks TCP itself, over a TUN device with a
// prefix routed to it: every address in the prefix is a client, and the kernel
// keeps nothing on the client's side. It does one job, to open and hold very many
// connections as a client, and follows RFC 9293 in it; the sections are named
// where they are implemented.
//
// A connection costs 16 bytes in a flat array, found from its four-tuple by
// arithmetic. What is only needed while something is under way (a SYN or bytes
// that are not acknowledged, an ACK that is put off) is in a [flight], out of a
// pool. So a connection at rest has no timer, no buffer and no round-trip time.
//
// What was decided, and why:
//
//   - A device for each worker, with a slice of the addresses, rather than queues
//     of one device: routes steer exactly, while the kernel's table of flows holds
//     4,096 (drivers/net/tun.c, MAX_TAP_FLOWS) and would hand the segments of a
//     million connections to the wrong worker.
//   - Segments that come out of order are dropped and asked for again by a
//     duplicate ACK: that is allowed (section 3.10.7.4), needs no memory that a
//     peer could fill, and a message of this swarm is seldom more than one segment.
//     The price: large messages over a link that loses much are slow.
//   - No option but MSS: windows of up to 64 KiB fill a link that is not long, and
//     scaling, timestamps and SACK would cost state for each connection.
//   - A flight begins with the initial window of RFC 6928, and the round-trip time
//     is one for all (RFC 9040 allows to share it): what was learned of the path
//     would otherwise have to be kept for each connection at rest.
//   - ACKs are put off as Linux does, 40 ms or until there is something to send
//     them with, but not beyond two full segments (section 3.8.6.3).
//   - Close is a reset, and the peer's FIN is answered by one, as in the engine of
//     kernel sockets with SO_LINGER of 0: so this side never sends a FIN, and
//     neither side has TIME_WAIT.
package packet

import (
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/engine"
	"connbench/clients/stack/arena"
	"connbench/clients/stack/tun"
	"connbench/clients/stack/wheel"
	"connbench/clients/stack/wire"
)

// packetsPerDeliver bounds how long packets are handled before the load may act
// again: a few milliseconds at most.
const packetsPerDeliver = 256

// Config is what an engine is made with.
type Config struct {
	// Share is the worker's slice of the plan ([addresses.Tuples.Slice]): its addresses
	// are routed to the engine, and connection i has tuple i unless Open says
	// otherwise.
	Share addresses.Share
	// Capacity is the number of connections, Wake the descriptor that wakes Wait
	// (-1: none).
	Capacity, Wake int
}

// Engine implements [engine.Engine].
type Engine struct {
	device device
	clock  func() int64 // nanoseconds, monotonic
	now    int64        // when Wait, Deliver or Open last looked
	h      engine.Handler

	share  addresses.Share
	finder *addresses.Finder
	conns  []conn
	moved  moved

	flights flights
	blocks  arena.Blocks
	timers  *wheel.Wheel
	// starved are connections for whose bytes there was no block.
	starved []int32

	roundTrip  roundTrip
	numbers    wire.ISN
	challenges challenges

	in  [wire.LinkHeader + wire.MaxPacket]byte
	out [wire.LinkHeader + wire.MaxPacket]byte
	got wire.Segment
}

// New makes a device, routes the addresses of the share to it, and returns an
// engine that answers for them.
func New(c Config) (*Engine, error) {
	t, err := tun.Open(c.Share.Sources().Prefixes(), c.Wake, wire.MTU)
	if err != nil {
		return nil, err
	}
	// As in the socket engine: sleeps are not rounded up.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		t.Close()
		return nil, err
	}
	e, err := newEngine(c, t, clock.Now)
	if err != nil {
		t.Close()
		return nil, err
	}
	return e, nil
}

// device is what packets come from and go to. Each has a link header.
type device interface {
	// Wait waits for a packet, the timeout (negative: none), or what wakes the
	// engine.
	Wait(timeout time.Duration) (woken bool, err error)
	// Read reads one packet and returns its length, 0 if no packet waits.
	Read(p []byte) (n int)
	// Write sends one. What cannot be sent is lost, and is sent again if it mattered.
	Write(p []byte) syscall.Errno
	Close()
}

// newEngine returns an engine on any device and clock.
func newEngine(c Config, d device, now func() int64) (*Engine, error) {
	e := &Engine{
		device: d,
		clock:  now,
		now:    now(),
		share:  c.Share,
		finder: c.Share.Finder(),
		conns:  make([]conn, c.Capacity),
	}
	var err error
	if e.numbers, err = wire.NewISN(); err != nil {
		return nil, err
	}
	if e.flights, err = newFlights(c.Capacity); err != nil {
		return nil, err
	}
	if e.blocks, err = arena.NewBlocks(); err != nil {
		e.flights.release()
		return nil, err
	}
	if e.timers, err = wheel.New(min(c.Capacity, maxFlights), e.now); err != nil {
		e.flights.release()
		e.blocks.Release()
		return nil, err
	}
	return e, nil
}

// StateBytes implements [engine.Engine].
func (e *Engine) StateBytes() int { return int(unsafe.Sizeof(conn{})) }

// Open implements [engine.Engine].
func (e *Engine) Open(i int, from, to netip.AddrPort) engine.Failure {
	switch {
	case from == to:
		return engine.Failure{Phase: control.PhaseBind, Err: unix.EADDRINUSE}
	case !e.share.Sources().Contains(from.Addr()):
		return engine.Failure{Phase: control.PhaseBind, Err: unix.EADDRNOTAVAIL}
	case !e.settleAt(i, wire.Tuple{From: from, To: to}):
		return engine.Failure{Phase: control.PhaseConnect, Err: unix.EADDRNOTAVAIL}
	}
	e.now = e.clock()
	if errno := e.connect(i, wire.Tuple{From: from, To: to}); errno != 0 {
		e.forget(i)
		return engine.Failure{Phase: control.PhaseConnect, Err: errno}
	}
	return engine.Failure{}
}

// Send implements [engine.Engine].
func (e *Engine) Send(i int, p []byte) (n int, err error) {
	if e.conns[i].state() != established {
		return 0, unix.ENOTCONN
	}
	f := e.flightOf(i)
	n = e.queue(f, p)
	if n < len(p) {
		f.set(blocked)
		if e.blocks.Free() == 0 && !f.is(starved) {
			f.set(starved)
			e.starved = append(e.starved, int32(i))
		}
	}
	e.output(f)
	e.rest(i)
	return n, nil
}

// Overdue implements [engine.Engine].
func (e *Engine) Overdue(i int) engine.Failure {
	c := &e.conns[i]
	if k := c.flight(); c.alive() && k != 0 && e.flights.at(k).queued > 0 {
		return engine.Failure{Err: control.Unacknowledged}
	}
	return engine.Failure{Err: control.Timeout}
}

// Close implements [engine.Engine].
func (e *Engine) Close(i int) {
	switch e.conns[i].state() {
	case closed:
		return
	case established, synReceived:
		e.put(i, e.acceptableNext(i), wire.RST|wire.ACK, 0) // section 3.10.5, ABORT
	}
	e.forget(i)
}

// Release implements [engine.Engine].
func (e *Engine) Release() {
	for i := range e.conns {
		e.Close(i)
	}
	e.device.Close()
	e.flights.release()
	e.blocks.Release()
	e.timers.Release()
}

// Wait implements [engine.Engine].
func (e *Engine) Wait(timeout time.Duration) (woken bool, err error) {
	if next, running := e.timers.Next(); running {
		e.now = e.clock()
		if left := time.Duration(max(next-e.now, 0)); timeout < 0 || left < timeout {
			timeout = left
		}
	}
	if len(e.starved) > 0 && e.blocks.Plenty() {
		timeout = 0
	}
	return e.device.Wait(timeout)
}

// Deliver implements [engine.Engine].
func (e *Engine) Deliver(h engine.Handler) {
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
func (e *Engine) feed() {
	for len(e.starved) > 0 && e.blocks.Plenty() {
		i := int(e.starved[0])
		e.starved = e.starved[1:]
		k := e.conns[i].flight()
		if k == 0 || !e.flights.at(k).is(starved) {
			continue // it was closed
		}
		e.flights.at(k).clear(starved | blocked)
		e.h.Writable(i)
		e.rest(i)
	}
	if len(e.starved) == 0 {
		e.starved = nil
	}
}

// Check says whether connections from the prefixes to the targets are possible at all;
// see [tun.Check].
func Check(prefixes []netip.Prefix, targets []netip.AddrPort) error {
	return tun.Check(prefixes, targets)
}
