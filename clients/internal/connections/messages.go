package connections

import (
	"encoding/binary"
	"math"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/splitmix"
)

// fill writes the bytes of a payload from offset on into p. Every 8 bytes of a
// payload are computed from its key and their position alone, so that a payload need
// not be kept to be sent on, or to be compared with, from any point.
func fill(p []byte, key uint64, offset int) {
	word := func(k int) uint64 { return splitmix.Mix(key + uint64(k)) }
	if ahead := offset % 8; ahead > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], word(offset/8))
		n := copy(p, whole[ahead:])
		p, offset = p[n:], offset+n
	}
	k := offset / 8
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, word(k))
		k++
	}
	if len(p) > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], word(k))
		copy(p, whole[:])
	}
}

// messages computes the messages of one load.
type messages struct {
	salt     uint64 // different for every load
	kind     protocol.Kind
	payload  []byte // room for one that is sent
	expected []byte // room for one that is expected
	active   bool   // a load is sending them
}

func newMessages(seed, load uint64, kind protocol.Kind, size int) messages {
	return messages{
		kind:     kind,
		salt:     splitmix.Mix(seed ^ splitmix.Mix(load)),
		payload:  make([]byte, size),
		expected: make([]byte, size),
		active:   true,
	}
}

// key is what a message's bytes are computed from: different for every message
// of every connection, so that an echo of another one is noticed.
func (m *messages) key(connection uint64, sequence uint32) uint64 {
	return splitmix.Mix(m.salt ^ splitmix.Mix(connection<<32|uint64(sequence)))
}

// matches says whether p are the bytes of a payload from offset on.
func (m *messages) matches(p []byte, key uint64, offset int) bool {
	if offset+len(p) > len(m.expected) {
		return false
	}
	expected := m.expected[:len(p)]
	fill(expected, key, offset)
	return string(expected) == string(p)
}

// incoming is how far the answer that comes next has come.
type incoming struct {
	bytes int // of payload
	wrong bool
}

// BeginMessages begins to count messages of a kind and size, in bytes of payload.
func (t *Table) BeginMessages(kind protocol.Kind, size int) {
	t.loads++
	t.messages = newMessages(t.seed, t.loads, kind, size)
	t.protocol.Prepare(kind, size)
}

// Send hands the next message of connection i, number Sent, to the engine, from
// where it stopped before. False: not all of it was taken. Events.Writable or
// Events.Lost follows.
func (t *Table) Send(i int) (whole bool) {
	c := &t.conns[i]
	key := t.messages.key(t.number(i), c.Sent)
	fill(t.messages.payload, key, 0)
	if !t.protocol.Send(i, t.messages.payload, key) {
		return false
	}
	c.Sent++
	t.Tally.Sent++
	return true
}

// answer takes a piece of a message from the peer, which may send nothing but
// answers to ours.
func (t *Table) answer(i int, p protocol.Piece) {
	c := &t.conns[i]
	switch {
	case c.late > 0:
		if p.Last {
			c.late--
		}
		return
	case c.Received == c.Sent || t.messages.kind != protocol.Data: // nothing was asked
		t.Tally.Corrupt++
		t.lose(i, control.PhaseEcho, control.Mismatch)
		return
	}
	var at incoming
	if len(t.incoming) > 0 {
		at = t.incoming[i]
	}
	if p.Kind != protocol.Data || !t.messages.matches(p.Payload, t.messages.key(t.number(i), c.Received), at.bytes) {
		at.wrong = true
	}
	at.bytes += len(p.Payload)
	if !p.Last {
		t.incoming[i] = at
		return
	}
	if len(t.incoming) > 0 {
		delete(t.incoming, i)
	}
	right := !at.wrong && at.bytes == len(t.messages.payload)
	if right {
		t.Tally.Delivered++
	} else {
		t.Tally.Corrupt++
		t.Tally.Fail(control.PhaseEcho, control.Mismatch)
	}
	sequence := c.Received
	c.Received++
	t.events.Answered(i, sequence, right)
}

// pong takes the answer to a ping of this load. One that answers none of those
// outstanding is ignored, and one may stand for all pings before it (RFC 6455
// section 5.5.3): these then count as not answered.
func (t *Table) pong(i int, text []byte) {
	c := &t.conns[i]
	if t.messages.kind != protocol.Ping || len(text) != len(t.messages.payload) {
		return
	}
	for q := c.Received; q < c.Sent; q++ {
		if !t.messages.matches(text, t.messages.key(t.number(i), q), 0) {
			continue
		}
		for ; c.Received < q; c.Received++ {
			t.Tally.Fail(control.PhasePing, control.Timeout)
			t.events.Answered(i, c.Received, false)
		}
		c.Received++
		t.Tally.Delivered++
		t.events.Answered(i, q, true)
		return
	}
}

// EndMessages ends the counting of messages, if a load has begun it. What is
// outstanding may still come, and is then ignored. failed says that it should have
// come.
func (t *Table) EndMessages(failed bool) {
	if !t.messages.active {
		return
	}
	t.messages.active = false
	phase := control.PhaseEcho
	if t.messages.kind == protocol.Ping {
		phase = control.PhasePing
	}
	for i := range t.conns {
		c := &t.conns[i]
		if c.Phase != Open {
			continue
		}
		outstanding := c.Sent - c.Received
		if failed && outstanding > 0 {
			t.Tally.fail(phase, control.Timeout, int64(outstanding))
		}
		if t.messages.kind == protocol.Ping {
			outstanding = 0 // a pong that comes late is ignored anyway
		}
		if t.protocol.Unfinished(i) || uint32(c.late)+outstanding > math.MaxUint16 {
			// In the middle of a message that will not be continued, or too far
			// behind to keep count.
			t.lose(i, control.PhaseSend, control.Timeout)
			continue
		}
		c.late += uint16(outstanding)
		c.Sent, c.Received = 0, 0
	}
	clear(t.incoming)
}
