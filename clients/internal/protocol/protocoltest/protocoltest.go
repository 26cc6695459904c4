// Package protocoltest has what a protocol talks to: an engine and a handler in one, by which
// tests see every byte and every call.
package protocoltest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/text"
)

// Wire is an engine that takes as many bytes as there is room for, and a handler that records
// its calls.
type Wire struct {
	engine.Engine
	t testing.TB
	// Room is how many bytes the engine takes before it is full, and Err why it takes none.
	Room int
	Err  error
	// Sent is all that it has taken.
	Sent []byte
	// Events are the calls of the handler: "received 0 text." is a whole message.
	Events []string
	Counts []string
	// Gone says that the connection is no more: nothing may happen on it.
	Gone bool
	last bool // the last piece received was the end of its message
}

// New returns a wire with room for all.
func New(t testing.TB) *Wire { return &Wire{t: t, Room: 1 << 30, last: true} }

// Config is what a protocol on the wire is made with. Connection i has number i.
func (w *Wire) Config(opening control.Opening, targets ...netip.AddrPort) protocol.Config {
	return protocol.Config{
		Engine: w, Handler: w, Targets: targets, Seed: 1, Opening: opening,
		Number: func(i int) uint64 { return uint64(i) },
		Target: func(int) int { return 0 },
		Label:  func(i int) uint64 { return uint64(i) },
		Texts:  text.New(1),
	}
}

// Expect compares the events since the last call.
func (w *Wire) Expect(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.Events, want) {
		w.t.Errorf("events %q, want %q", w.Events, want)
	}
	w.Events = nil
}

// Send implements [engine.Engine].
func (w *Wire) Send(_ int, p []byte) (int, error) {
	if w.Gone {
		w.t.Fatal("sent on a connection that is no more")
	}
	if w.Err != nil {
		return 0, w.Err
	}
	n := min(len(p), w.Room)
	w.Room -= n
	w.Sent = append(w.Sent, p[:n]...)
	return n, nil
}

func (w *Wire) note(format string, values ...any) (alive bool) {
	if w.Gone {
		w.t.Fatalf("told of a connection that is no more: "+format, values...)
	}
	w.Events = append(w.Events, fmt.Sprintf(format, values...))
	return true
}

// Opened and the others implement [protocol.Handler].
func (w *Wire) Opened(int) bool   { return w.note("opened") }
func (w *Wire) Writable(int)      { w.note("writable") }
func (w *Wire) Finished(int)      { w.note("finished"); w.Gone = true }
func (w *Wire) Count(name string) { w.Counts = append(w.Counts, name) }
func (w *Wire) Failed(_ int, why engine.Failure) {
	w.note("failed %s %s", why.Phase, why.Name())
	w.Gone = true
}

// Received implements [protocol.Handler].
func (w *Wire) Received(_ int, p protocol.Piece) bool {
	if n := len(w.Events); n > 0 && !w.last {
		w.Events[n-1] += string(p.Payload) // however it is cut, it is one message
	} else {
		w.note("received %d %s", p.Kind, p.Payload)
	}
	if w.last = p.Last; p.Last {
		w.Events[len(w.Events)-1] += "."
	}
	return true
}
