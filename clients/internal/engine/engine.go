// Package engine defines what moves the bytes of connections. An engine knows
// connections by number, from 0 to a capacity that is fixed when it is made, so that
// it and the layers above keep what they know in flat arrays. It knows no protocol.
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

	// Send hands over bytes and returns how many were taken. If fewer were taken
	// than given, Handler.Writable follows as soon as there is room. An error
	// means that the connection is dead. No event follows, and the caller still has
	// to Close it.
	Send(i int, p []byte) (n int, err error)

	// Overdue returns why connection i is silent, for a caller that gives it up:
	// control.Timeout, or control.Unacknowledged if it is connected and the peer's TCP
	// has not acknowledged all that was sent.
	Overdue(i int) Failure

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

	// StateBytes returns the size of what the engine keeps for one connection.
	StateBytes() int

	// Release resets all connections and gives everything back.
	Release()
}

// Pauser is an engine that can stop reading.
type Pauser interface {
	// Pause leaves unread what comes on connection i from now on, until it is closed. That the
	// peer has reset it is still reported, and may be that the peer has closed it.
	Pause(i int)
}

// Handler is called when something happens. Its methods may call Send and Close for
// any connection.
type Handler interface {
	// Opened says that the connect succeeded: bytes may be sent.
	Opened(i int)
	// Data brings bytes in order. They are valid during the call only.
	Data(i int, p []byte)
	// Writable follows a Send that took fewer bytes than it was given.
	Writable(i int)
	// Closed says that the connect failed, or that the connection ended. The engine
	// has forgotten it.
	Closed(i int, why Failure)
}

// Failure says why a connection could not be opened, or why it ended. The zero
// value: nothing failed.
type Failure struct {
	// Phase is what failed, if it is not what the connection was doing.
	Phase control.Phase
	// Err is a [syscall.Errno], or one of the errors of package control.
	Err error
}

// Name returns the error's name in control.Failure.
func (f Failure) Name() control.Error {
	if errno, ok := f.Err.(syscall.Errno); ok {
		return control.ErrnoError(errno)
	}
	return control.Error(f.Err.Error())
}
