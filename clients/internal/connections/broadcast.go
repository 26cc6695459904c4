package connections

import (
	"encoding/binary"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/splitmix"
)

// The smallest message of a broadcast has the bytes by which a message is known.
const _ = uint(control.LeastBroadcast - headBytes)

// broadcast is what one connection of one worker sends to all.
type broadcast struct {
	run, total uint32
	// next is the message with the number of sequence, once cached: most connections are
	// sent the same one after the other.
	next     []byte
	sequence uint32
	cached   bool
}

// BeginBroadcast begins to count messages to all, of a size in bytes of payload: total in
// number. Those that come after end are late, in nanoseconds of [clock.Now]. run is the same in
// all workers, and of no broadcast before.
func (t *Table) BeginBroadcast(run uint32, size int, total uint32, end int64) {
	t.BeginMessages(protocol.Data, size, end)
	t.messages.broadcast = &broadcast{run: run, total: total, next: make([]byte, size)}
	t.lastBroadcast = run
}

// Publish hands message number sequence to the engine, for connection i to send, from where it
// stopped before. It returns false if the engine did not take all of it; Events.Writable or
// Events.Lost then follows.
func (t *Table) Publish(i int, sequence uint32) (whole bool) {
	key := broadcastKey(name{t.messages.broadcast.run, sequence})
	fill(t.messages.payload, key, 0)
	if !t.protocol.Send(i, t.messages.payload, key) {
		return false
	}
	t.Tally.Sent++
	return true
}

// broadcastSalt keeps messages to all apart from those of one connection.
const broadcastSalt = 0x62726F616463

// broadcastKey returns what the bytes of a message to all are computed from. It is the same on
// all hosts.
func broadcastKey(n name) uint64 {
	return splitmix.Mix(broadcastSalt ^ (uint64(n.load)<<32 | uint64(n.sequence)))
}

// broadcastNamed returns the message to all that begins with the head. isOne says whether there
// can be one: by chance one in a trillion of other messages begins so.
func broadcastNamed(head []byte) (n name, isOne bool) {
	const mostRuns = 1 << 10
	key := splitmix.Unmix(binary.LittleEndian.Uint64(head))
	both := splitmix.Unmix(key) ^ broadcastSalt
	n = name{load: uint32(both >> 32), sequence: uint32(both)}
	return n, 0 < n.load && n.load < mostRuns && n.sequence < control.MostBroadcast
}

// isNextOfBroadcast says whether a whole message is the next to all that connection i is to get.
func (t *Table) isNextOfBroadcast(i int, p protocol.Piece) bool {
	b := t.messages.broadcast
	if b == nil || !t.messages.active || p.Kind != protocol.Data || len(p.Payload) != len(b.next) {
		return false
	}
	if len(t.incoming) > 0 {
		if _, inPieces := t.incoming[i]; inPieces {
			return false
		}
	}
	sequence := t.conns[i].Received
	if !b.cached || b.sequence != sequence {
		fill(b.next, broadcastKey(name{b.run, sequence}), 0)
		b.sequence, b.cached = sequence, true
	}
	return sequence < b.total && string(b.next) == string(p.Payload)
}

// judgeBroadcast finds what message to all one is that begins with the head; undecided: none.
// What belongs to a broadcast that has ended is ignored, and so is what comes before this worker
// has begun with its own, which is counted.
func (t *Table) judgeBroadcast(i int, head []byte) (v verdict, sequence uint32) {
	if len(head) != headBytes {
		return undecided, 0
	}
	n, isOne := broadcastNamed(head)
	b := t.messages.broadcast
	switch {
	case !isOne:
		return undecided, 0
	case b == nil || !t.messages.active || n.load != b.run:
		if n.load > t.lastBroadcast {
			t.Tally.Count(control.CountEarly, 1)
		}
		return foreign, 0
	case n.sequence >= b.total:
		return unasked, 0
	case n.sequence < t.conns[i].Received:
		return repeated, 0
	}
	return expected, n.sequence
}
