// Package engine defines what moves bytes for the swarm. An engine knows
// connections by number and knows no WebSocket; the loads above it know no
// sockets. Numbers run from 0 to a capacity that is fixed when the engine is
// made, so that both sides keep what they know in flat arrays.
//
// An engine is used by one thread. The loop around it is
//
//	for {
//		woken, err := e.Wait(timeout) // the only call that blocks
//		e.Deliver(handler)            // everything that happened, in a batch
//		...                           // Open, Send, Close
//	}
package engine

import (
	"net/netip"
	"syscall"
	"time"

	"connbench/clients/control"
)

// Engine moves bytes for connections 0 to its capacity - 1.
type Engine interface {
	// Open begins to connect connection i, which must not be open. Later comes
	// Handler.Opened or Handler.Closed, unless the failure that is returned is
	// not the zero value. Open must not be called from within a Handler, so that
	// an event of an earlier connection i never meets a later one.
	Open(i int, from, to netip.AddrPort) Failure

	// Send hands over bytes and says how many were taken. If fewer were taken
	// than given, Handler.Writable follows as soon as there is room. An errno
	// means that the connection is dead; the engine says so by this return value
	// alone, and the caller still has to Close.
	Send(i int, p []byte) (n int, dead syscall.Errno)

	// Acknowledged says whether the peer's TCP has acknowledged all that was sent on
	// connection i, which Opened reported: whether a peer that is silent is one that
	// hears.
	Acknowledged(i int) bool

	// Close resets connection i (RST): neither side is left in TIME_WAIT. No
	// event follows. A connection that is not open is left alone.
	Close(i int)

	// Wait blocks until something happened to a connection, the timeout passed
	// (negative: none) or the descriptor that the engine was made with became
	// readable, which woken reports until it has been read empty. It may also
	// return for no reason, as system calls do when a signal comes.
	Wait(timeout time.Duration) (woken bool, err error)

	// Deliver hands what Wait found to h. It does not block.
	Deliver(h Handler)

	// StateBytes is the size of what the engine keeps for one connection.
	StateBytes() int

	// Release resets all connections and gives everything back.
	Release()
}

// Handler is told what happens. Its methods may call Send and Close for any
// connection.
type Handler interface {
	// Opened says that the connect succeeded: bytes may be sent.
	Opened(i int)
	// Data brings bytes in order. They are valid during the call only.
	Data(i int, p []byte)
	// Writable follows a Send that took fewer bytes than it was given.
	Writable(i int)
	// Closed says that the connect failed, or that the connection ended: by an
	// errno, or by end of stream if that is 0. The engine has forgotten it.
	Closed(i int, why syscall.Errno)
}

// Failure says why a connection could not be opened. The zero value: it could.
type Failure struct {
	// Phase is the step that failed: "socket", "bind" or "connect".
	Phase control.Phase
	Errno syscall.Errno
}
