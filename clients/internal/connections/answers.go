package connections

import (
	"math"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/protocol"
)

// verdict is what an answer is found to be by its first bytes.
type verdict uint8

const (
	undecided verdict = iota // too few bytes have come
	expected                 // it answers a message of this load
	stale                    // it answers one of an earlier load
	repeated                 // it answers one that has been answered, or passed over
	unasked                  // it answers none
	foreign                  // it belongs to another broadcast
)

// incoming is an answer that has come in part.
type incoming struct {
	verdict  verdict
	head     [headBytes]byte
	bytes    int    // of payload that have come
	sequence uint32 // of the message that it answers, if it is expected
	wrong    bool   // a byte was not the right one
	text     []byte // of an answer to a question, as far as it matters
}

// longestAnswer is how much of a message is compared with what a question expects, in bytes.
const longestAnswer = 16 << 10

// answer takes a piece of a message from the peer, which may send nothing but
// answers to ours.
func (t *Table) answer(i int, p protocol.Piece) {
	if p.Last && (t.isNext(i, p) || t.isNextOfBroadcast(i, p)) {
		c := &t.conns[i]
		c.Received++
		t.right(i, c.Received-1)
		return
	}
	at := t.incoming[i]
	if t.messages.question != nil && t.messages.active {
		at.text = append(at.text, p.Payload[:min(len(p.Payload), longestAnswer-len(at.text))]...)
	}
	t.piece(i, &at, p)
	if !p.Last && (t.pushes || t.messages.question != nil || at.verdict != unasked) {
		t.incoming[i] = at
		return
	}
	delete(t.incoming, i)
	if q := t.messages.question; q != nil && t.messages.active && t.answers(i, q, at) {
		return
	}
	t.answered(i, at)
}

// answers says whether a whole message answers the oldest question of connection i, and notes
// the answer.
func (t *Table) answers(i int, q *question, at incoming) bool {
	c := &t.conns[i]
	if c.Received == c.Sent || at.bytes > longestAnswer || !q.answer.Match(at.text) {
		return false
	}
	c.Received++
	t.right(i, c.Received-1)
	return true
}

// isNext says whether a whole message is the right answer to the first message of
// this load that has none: what nearly all are.
func (t *Table) isNext(i int, p protocol.Piece) bool {
	if len(t.incoming) > 0 {
		if _, inPieces := t.incoming[i]; inPieces {
			return false
		}
	}
	c := &t.conns[i]
	return (c.late == 0 || len(p.Payload) > 0) && p.Kind == protocol.Data && t.messages.kind == protocol.Data && c.Received < c.Sent &&
		len(p.Payload) == t.size(i, c.Received) && t.matches(p.Payload, i, c.Received, 0)
}

// piece notes a piece of an answer.
func (t *Table) piece(i int, at *incoming, p protocol.Piece) {
	payload := p.Payload
	if at.verdict == undecided {
		n := copy(at.head[min(at.bytes, headBytes):], payload)
		at.bytes += n
		payload = payload[n:]
		if at.bytes < headBytes && !p.Last {
			return
		}
		head := at.head[:at.bytes]
		at.verdict, at.sequence = t.judge(i, head)
		at.wrong = at.verdict == expected && !t.matches(head, i, at.sequence, 0)
	}
	if at.verdict == expected && (p.Kind != protocol.Data || !t.matches(payload, i, at.sequence, at.bytes)) {
		at.wrong = true
	}
	at.bytes += len(payload)
	if at.bytes > LargestPayload {
		at.verdict = unasked // no message is as long: it may have no end
	}
}

// judge finds what message of connection i is answered by one that begins with the
// head, or consists of it. What is no message's is taken as the answer to the next
// one, corrupted on its way.
func (t *Table) judge(i int, head []byte) (v verdict, sequence uint32) {
	if v, sequence := t.judgeBroadcast(i, head); v != undecided {
		return v, sequence
	}
	c := &t.conns[i]
	begun := c.Sent // a server of bytes answers the first of a message before it has the last
	if t.messages.active && t.protocol.Unfinished(i) {
		begun++
	}
	asked := t.messages.active && t.messages.kind == protocol.Data && c.Received < begun
	if len(head) == headBytes {
		n := t.nameOf(i, [headBytes]byte(head))
		switch {
		case asked && n.load == t.messages.load && c.Received <= n.sequence && n.sequence < begun:
			return expected, n.sequence
		case n.load == t.messages.load && t.messages.active:
			if n.sequence < c.Received && asked && !t.pushes {
				return repeated, 0
			}
		case 0 < n.load && n.load <= t.messages.load && c.late > 0:
			return stale, 0
		}
	} else if v, sequence := t.judgeShort(i, head); v != undecided {
		return v, sequence
	}
	switch {
	case t.pushes:
		return unasked, 0
	case asked:
		return expected, c.Received
	case c.late > 0:
		return stale, 0
	}
	return unasked, 0
}

// mostAhead is how many messages one too short to name itself is compared with.
const mostAhead = 64

// judgeShort does the same for a message that is too short to name itself. What is
// empty answers the oldest message, since there is nothing to tell it by.
func (t *Table) judgeShort(i int, whole []byte) (v verdict, sequence uint32) {
	c := &t.conns[i]
	if len(whole) == 0 && c.late > 0 {
		return stale, 0
	}
	if t.messages.active && t.messages.kind == protocol.Data {
		for q := c.Received; q < min(c.Sent, c.Received+mostAhead); q++ {
			if len(whole) == t.size(i, q) && t.matches(whole, i, q, 0) {
				return expected, q
			}
		}
	}
	if c.late > 0 && !t.pushes {
		return stale, 0
	}
	return undecided, 0
}

// answered takes an answer that has come whole.
func (t *Table) answered(i int, at incoming) {
	c := &t.conns[i]
	switch at.verdict {
	case foreign:
		return
	case stale:
		c.late = max(c.late, 1) - 1
		return
	case repeated:
		if t.messages.broadcast != nil {
			t.Tally.Count(control.CountRepeated, 1)
			return
		}
		t.Tally.Corrupt++
		t.Tally.Fail(control.PhaseEcho, control.Mismatch)
		return
	case unasked:
		if t.pushes {
			t.Tally.push(at.bytes)
			return
		}
		t.Tally.Corrupt++
		t.lose(i, control.PhaseEcho, control.Mismatch)
		return
	}
	if at.sequence >= c.Sent && t.messages.broadcast == nil { // it has ended before its message
		t.Tally.Corrupt++
		t.lose(i, control.PhaseEcho, control.Mismatch)
		return
	}
	if !t.passOver(i, at.sequence, control.PhaseEcho) {
		return
	}
	c.Received++
	if at.wrong || at.bytes != t.size(i, at.sequence) {
		t.Tally.Corrupt++
		t.Tally.Fail(control.PhaseEcho, control.Mismatch)
		t.events.Missed(i, at.sequence, true)
		return
	}
	t.right(i, at.sequence)
}

// passOver notes that messages before one that is answered have no answer: answers
// come in the order of the messages. It returns false if that made the load lose the
// connection.
func (t *Table) passOver(i int, sequence uint32, phase control.Phase) (alive bool) {
	c := &t.conns[i]
	for c.Phase == Open && c.Received < sequence {
		missed := c.Received
		c.Received++
		t.Tally.Fail(phase, control.Timeout)
		t.events.Missed(i, missed, false)
	}
	return c.Phase == Open
}

// right notes the right answer to a message.
func (t *Table) right(i int, sequence uint32) {
	now := clock.Now()
	if t.conns[i].Slow {
		return
	}
	if now < t.messages.end {
		t.Tally.Delivered++
	} else {
		t.Tally.Late++
	}
	t.events.Answered(i, sequence, now)
}

// pong takes the answer to a ping of this load. One that answers none of those
// outstanding is ignored, and one may stand for all pings before it (RFC 6455
// section 5.5.3): these then count as not answered.
func (t *Table) pong(i int, text []byte) {
	c := &t.conns[i]
	if !t.messages.active || t.messages.kind != protocol.Ping || len(text) != len(t.messages.payload) {
		return
	}
	sequence := c.Received
	if len(text) >= headBytes {
		sequence = t.nameOf(i, [headBytes]byte(text)).sequence
	} else {
		for sequence < c.Sent && !t.matches(text, i, sequence, 0) {
			sequence++
		}
	}
	if sequence < c.Received || sequence >= c.Sent || !t.matches(text, i, sequence, 0) {
		return
	}
	if t.passOver(i, sequence, control.PhasePing) {
		c.Received++
		t.right(i, sequence)
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
		if c.Phase != Open || c.Slow {
			continue
		}
		outstanding := c.Sent - c.Received
		if t.messages.broadcast != nil {
			outstanding = 0 // what is not for one connection, the load counts
		}
		if failed && outstanding > 0 {
			t.Tally.fail(phase, control.Timeout, int64(outstanding))
		}
		if t.protocol.Unfinished(i) {
			t.lose(i, control.PhaseSend, control.Timeout) // the message will not be continued
			continue
		}
		if t.messages.kind == protocol.Data { // a pong that comes late is ignored anyway
			c.late = uint16(min(uint32(c.late)+outstanding, math.MaxUint16))
		}
		c.Sent, c.Received = 0, 0
	}
	for i, at := range t.incoming {
		if at.verdict == undecided || at.verdict == expected {
			at.verdict = stale
			if t.messages.broadcast != nil {
				at.verdict = foreign
			}
			t.incoming[i] = at
		}
	}
}
