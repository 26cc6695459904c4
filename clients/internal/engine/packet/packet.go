// Package packet is the engine that speaks TCP itself (package stack), over a TUN
// device with a prefix routed to it: every address in the prefix is a client, and the
// kernel keeps nothing on the client's side. It does one job, to open and hold very many
// connections as a client. A connection is found from its four-tuple by arithmetic, so
// that nothing is kept of it.
//
//   - A device for each worker, with a slice of the addresses, rather than queues
//     of one device: routes steer exactly, while the kernel's table of flows holds
//     4,096 (drivers/net/tun.c, MAX_TAP_FLOWS) and would hand the segments of a
//     million connections to the wrong worker.
//   - Close is a reset, and the peer's FIN is answered by one, as in the engine of
//     kernel sockets with SO_LINGER of 0: so this side never sends a FIN, and
//     neither side has TIME_WAIT.
package packet

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/engine"
	"connbench/clients/stack"
	"connbench/clients/stack/tun"
	"connbench/clients/stack/wire"
)

// bufferBytes is what a worker keeps for retransmission.
const bufferBytes = 16 << 20

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
	*stack.Stack
	places  *places
	handler handler
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

// newEngine returns an engine on any device and clock.
func newEngine(c Config, d stack.Device, now func() int64) (*Engine, error) {
	p := &places{share: c.Share, finder: c.Share.Finder(), capacity: c.Capacity}
	s, err := stack.New(stack.Config{Device: d, Places: p, Clock: now, Capacity: c.Capacity, BufferBytes: bufferBytes})
	if err != nil {
		return nil, err
	}
	p.open = s.Open
	return &Engine{Stack: s, places: p, handler: handler{stack: s}}, nil
}

// StateBytes implements [engine.Engine].
func (e *Engine) StateBytes() int { return stack.StateBytes() }

// Open implements [engine.Engine].
func (e *Engine) Open(i int, from, to netip.AddrPort) engine.Failure {
	switch {
	case from == to:
		return engine.Failure{Phase: control.PhaseBind, Err: unix.EADDRINUSE}
	case !e.places.Ours(from.Addr()):
		return engine.Failure{Phase: control.PhaseBind, Err: unix.EADDRNOTAVAIL}
	case !e.places.settleAt(i, wire.Tuple{From: from, To: to}):
		return engine.Failure{Phase: control.PhaseConnect, Err: unix.EADDRNOTAVAIL}
	}
	if errno := e.Connect(i); errno != 0 {
		return engine.Failure{Phase: control.PhaseConnect, Err: errno}
	}
	return engine.Failure{}
}

// Overdue implements [engine.Engine].
func (e *Engine) Overdue(i int) engine.Failure {
	if e.Established(i) && e.Unacknowledged(i) {
		return engine.Failure{Err: control.Unacknowledged}
	}
	return engine.Failure{Err: control.Timeout}
}

// Close implements [engine.Engine].
func (e *Engine) Close(i int) { e.Abort(i) }

// Deliver implements [engine.Engine].
func (e *Engine) Deliver(h engine.Handler) {
	e.handler.Handler = h
	e.Stack.Deliver(&e.handler)
}

// handler passes on what happens.
type handler struct {
	engine.Handler
	stack *stack.Stack
}

// Ended implements [stack.Handler].
func (h *handler) Ended(i int) {
	h.stack.Abort(i)
	h.Handler.Closed(i, engine.Failure{Err: control.Closed})
}

// Closed implements [stack.Handler]. No connection of an engine that closes by resets
// ends in an orderly way.
func (h *handler) Closed(i int, why error) { h.Handler.Closed(i, engine.Failure{Err: why}) }

// Check says whether connections from the prefixes to the targets are possible at all;
// see [tun.Check].
func Check(prefixes []netip.Prefix, targets []netip.AddrPort) error {
	return tun.Check(prefixes, targets)
}
